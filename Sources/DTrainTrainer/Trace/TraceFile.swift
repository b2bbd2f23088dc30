import DTrainCheckpoint
import Foundation

/// The file of `--trace`: complete at any time, and at first empty.
enum TraceFile {
    /// Writes an empty trace, so that a path where nothing can be written is known before training starts, and a run that is
    /// killed leaves a valid file.
    static func create(_ path: String) throws { try write([], to: path) }

    /// Writes the events of all ranks in place of what is there. Throws `TrainerError.traceFile`.
    static func write(_ ranks: [[UInt8]], to path: String) throws {
        // A device or a directory must not be replaced by a file.
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        if let type = attributes?[.type] as? FileAttributeType, type != .typeRegular {
            throw TrainerError.traceFile(path: path, reason: "it is not a regular file")
        }
        let text =
            Array("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n".utf8) + ranks.joined(separator: Array(",\n".utf8))
            + Array("\n]}\n".utf8)
        do {
            try text.withUnsafeBytes { try DurableFile.write($0, to: path) }
        } catch CheckpointError.fileSystem(_, _, let code) {
            throw TrainerError.traceFile(path: path, reason: String(cString: strerror(code)))
        }
    }
}
