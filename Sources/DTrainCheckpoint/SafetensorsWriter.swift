import DTrainTensor

extension SafetensorsFile {
    /// Writes `tensors` to `path` durably: to a temporary name beside it, synced, renamed, so that a file of this name is
    /// always complete. Returns the content's SHA-256.
    ///
    /// The tensors keep their order, those of wider elements first, so that each is aligned.
    @discardableResult
    public static func write(
        _ tensors: [NamedTensor], metadata: [String: String] = ["format": "pt"], to path: String
    ) throws(CheckpointError) -> String {
        try FileOutput.replace(path) { output throws(CheckpointError) in
            try write(tensors, metadata: metadata, to: output)
        }
    }

    static func write(
        _ tensors: [NamedTensor], metadata: [String: String] = ["format": "pt"], to output: FileOutput
    ) throws(CheckpointError) {
        let ordered = tensors.enumerated().sorted {
            ($1.element.dtype.byteCount, $0.offset) < ($0.element.dtype.byteCount, $1.offset)
        }.map(\.element)
        let header: SafetensorsHeader
        do {
            header = try SafetensorsHeader(of: ordered, metadata: metadata)
        } catch {
            throw .safetensors(path: output.path, error)
        }
        try output.write(header.bytes)
        for tensor in ordered {
            try output.write(UnsafeRawBufferPointer(start: tensor.memory.base, count: tensor.byteCount))
        }
    }
}
