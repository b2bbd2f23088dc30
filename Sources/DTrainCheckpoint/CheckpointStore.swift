import DTrainTensor

/// The directory `checkpoints/` of a run: writes checkpoints so that each is whole or absent, finds and removes them.
///
/// A checkpoint is written under a temporary name, synced, and renamed. Death at any byte leaves the earlier ones as
/// they were; a failed write leaves nothing. One thread of one process (rank 0) writes; anybody may read.
public struct CheckpointStore: Sendable {
    /// `RUN/checkpoints`.
    public let directory: String
    private let fault: CheckpointFault?

    private static let temporaryPrefix = ".tmp-"
    private static let asidePrefix = ".old-"
    private static let bestName = "best"

    /// Nothing is touched yet. `fault` kills the process in the middle of a write, for tests.
    public init(_ directory: String, fault: CheckpointFault? = nil) {
        self.directory = directory
        self.fault = fault
    }

    /// What `save` has written.
    public struct Saved: Hashable, Sendable {
        public let path: String
        /// Of all files together.
        public let byteCount: Int
    }

    // MARK: Writing

    /// Creates the directory where it is missing, and clears up after a run that died: removes what was half written or
    /// half removed, gives a checkpoint that was moved aside its name back. Call it once before writing.
    public func prepare() throws(CheckpointError) {
        try FileSystem.createDirectories(directory)
        for name in try FileSystem.names(in: directory) {
            if name.hasPrefix(Self.temporaryPrefix) {
                try FileSystem.remove(path(name))
            } else if name.hasPrefix(Self.asidePrefix) {
                let final = path(String(name.dropFirst(Self.asidePrefix.count)))
                if FileSystem.exists(final) {
                    try FileSystem.remove(path(name))
                } else {
                    try FileSystem.rename(path(name), to: final)
                }
            }
        }
        try FileSystem.syncDirectory(directory)
    }

    /// Writes the checkpoint of `state.step`, durable when this returns; it replaces one of the same step.
    ///
    /// Tensors are in PyTorch's names, shapes and order. An error leaves the earlier checkpoints and nothing half written.
    @discardableResult
    public func save(
        _ state: TrainingState, model: [NamedTensor], optimizer: [NamedTensor]
    ) throws(CheckpointError) -> Saved {
        let name = Self.name(state.step)
        let temporary = path(Self.temporaryPrefix + name)
        let byteCount: Int
        try FileSystem.remove(temporary)
        do {
            try FileSystem.createDirectory(temporary)
            byteCount = try writeFiles(state, model: model, optimizer: optimizer, in: temporary)
            try FileSystem.syncDirectory(temporary)
            fault?.reach(.beforeRename)
            try publish(temporary, as: name)
        } catch {
            try? FileSystem.remove(temporary)
            throw error
        }
        return Saved(path: path(name), byteCount: byteCount)
    }

    private func writeFiles(
        _ state: TrainingState, model: [NamedTensor], optimizer: [NamedTensor], in temporary: String
    ) throws(CheckpointError) -> Int {
        var records: [String: StateFile.Record] = [:]
        for (name, tensors) in [(Checkpoint.modelName, model), (Checkpoint.optimizerName, optimizer)] {
            let output = try FileOutput(temporary + "/" + name, fault: fault)
            try SafetensorsFile.write(tensors, to: output)
            records[name] = StateFile.Record(bytes: output.byteCount, sha256: try output.finish())
        }
        let output = try FileOutput(temporary + "/" + StateFile.name, fault: fault)
        let text: [UInt8]
        do {
            text = try StateFile.encode(StateFile.Content(state: state, files: records))
        } catch {
            throw .malformedState(path: output.path, reason: "\(error)")
        }
        try output.write(text)
        _ = try output.finish()
        return records.values.reduce(text.count) { $0 + $1.bytes }
    }

    /// Gives the finished directory its name.
    private func publish(_ temporary: String, as name: String) throws(CheckpointError) {
        let final = path(name)
        let aside = path(Self.asidePrefix + name)
        // rename(2) does not replace a directory that is not empty, so an older one makes room first.
        let replaces = FileSystem.exists(final)
        if replaces {
            try FileSystem.remove(aside)
            try FileSystem.rename(final, to: aside)
            fault?.reach(.movedAside)
        }
        do {
            try FileSystem.rename(temporary, to: final)
        } catch {
            if replaces { try FileSystem.rename(aside, to: final) }
            throw error
        }
        fault?.reach(.afterRename)
        try FileSystem.syncDirectory(directory)
        if replaces { try FileSystem.remove(aside) }
    }

    /// Lets the link `best` point to the checkpoint of `step`, which must be there.
    public func markBest(step: Int) throws(CheckpointError) {
        let name = Self.name(step)
        guard FileSystem.exists(path(name)) else { throw .missingFile(path: path(name)) }
        let temporary = path(Self.temporaryPrefix + Self.bestName)
        try FileSystem.remove(temporary)
        try FileSystem.link(temporary, to: name)
        try FileSystem.rename(temporary, to: path(Self.bestName))
        try FileSystem.syncDirectory(directory)
    }

    /// Removes what `policy` does not keep; returns the removed steps. The best one is that of `markBest`.
    @discardableResult
    public func prune(_ policy: RetentionPolicy) throws(CheckpointError) -> [Int] {
        let removable = policy.removable(try steps(), best: bestStep())
        for step in removable {
            // Renamed first: no reader finds half a checkpoint under its name, and `prepare` removes what is left.
            let doomed = path(Self.temporaryPrefix + "removed-" + Self.name(step))
            try FileSystem.remove(doomed)
            try FileSystem.rename(path(Self.name(step)), to: doomed)
            try FileSystem.remove(doomed)
        }
        return removable
    }

    // MARK: Reading

    /// The steps that have a checkpoint, ascending, valid or not; none where the directory is missing.
    public func steps() throws(CheckpointError) -> [Int] {
        try FileSystem.names(in: directory).compactMap(Self.step).sorted()
    }

    /// The step that `best` points to; nil where there is none.
    public func bestStep() -> Int? { FileSystem.linkTarget(path(Self.bestName)).flatMap(Self.step) }

    /// The directory of the checkpoint of `step`.
    public func path(step: Int) -> String { path(Self.name(step)) }

    /// The newest checkpoint whose files are all as they were written, and the newer ones that were passed over, each
    /// with its reason, the newest first; nil where there is no checkpoint at all.
    ///
    /// Throws `noValidCheckpoint` where there are some and none is valid: starting afresh is then the user's decision.
    public func newestValid() throws(CheckpointError) -> (checkpoint: Checkpoint?, skipped: [SkippedCheckpoint]) {
        let names = try FileSystem.names(in: directory)
        var candidates: [Int: String] = [:]
        // One that was moved aside counts where a run died before its successor took the name.
        for name in names where name.hasPrefix(Self.asidePrefix) {
            if let step = Self.step(String(name.dropFirst(Self.asidePrefix.count))) { candidates[step] = name }
        }
        for name in names {
            if let step = Self.step(name) { candidates[step] = name }
        }
        var skipped: [SkippedCheckpoint] = []
        for (_, name) in candidates.sorted(by: { $0.key > $1.key }) {
            do {
                return (try Checkpoint(path(name)), skipped)
            } catch {
                skipped.append(SkippedCheckpoint(path: path(name), reason: error))
            }
        }
        if !skipped.isEmpty { throw .noValidCheckpoint(directory: directory, skipped: skipped) }
        return (nil, [])
    }

    // MARK: Names

    private func path(_ name: String) -> String { directory + "/" + name }

    /// `step-00000100`.
    static func name(_ step: Int) -> String {
        let digits = String(step)
        return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    static func step(_ name: String) -> Int? {
        guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), step >= 0, self.name(step) == name else {
            return nil
        }
        return step
    }
}
