import DTrainTensor

/// A checkpoint on disk whose files have been verified.
public struct Checkpoint: Sendable {
    /// Its directory.
    public let path: String
    public let state: TrainingState

    static let modelName = "model.safetensors"
    static let optimizerName = "optimizer.safetensors"

    public var modelPath: String { path + "/" + Self.modelName }
    public var optimizerPath: String { path + "/" + Self.optimizerName }

    /// Opens the checkpoint in directory `path` and verifies the size and SHA-256 of every file.
    public init(_ path: String) throws(CheckpointError) {
        guard FileSystem.exists(path) else { throw .missingFile(path: path) }
        let statePath = path + "/" + StateFile.name
        guard FileSystem.exists(statePath) else {
            throw .notACheckpoint(path: path, reason: "it holds no \(StateFile.name)")
        }
        let content = try StateFile.read(statePath)
        for name in [Self.modelName, Self.optimizerName] where content.files[name] == nil {
            throw .malformedState(path: statePath, reason: "it records no \(name)")
        }
        for (name, record) in content.files.sorted(by: { $0.key < $1.key }) {
            let file = try FileInput(path + "/" + name)
            guard file.byteCount == record.bytes else {
                throw .wrongSize(path: file.path, expected: record.bytes, found: file.byteCount)
            }
            let digest = try file.digest()
            guard digest == record.sha256 else {
                throw .corrupt(path: file.path, expected: record.sha256, found: digest)
            }
        }
        self.path = path
        state = content.state
    }

    /// Fills `arenas` with the model's parameters (and buffers); all names and shapes must match.
    public func loadModel(into arenas: [NamedArena]) throws(CheckpointError) {
        try loadWeights(modelPath, into: arenas)
    }

    /// The optimizer's state and what else a resumed run needs, by name.
    public func optimizerTensors() throws(CheckpointError) -> [NamedTensor] {
        try SafetensorsFile(optimizerPath).tensors()
    }
}
