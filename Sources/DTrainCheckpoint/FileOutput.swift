import DTrainDigest
import DTrainTensor
import Foundation

/// A new file that is written once, hashed on the way, and durable when `finish` returns.
final class FileOutput {
    let path: String
    private let descriptor: Int32
    private let fault: CheckpointFault?
    private var hash = Digest(.sha256)
    private(set) var byteCount = 0

    /// Bytes hashed and written at a time: they are still in the cache when they are written.
    private static let chunkSize = 1 << 20

    /// Creates `path`, which must not exist.
    init(_ path: String, fault: CheckpointFault? = nil) throws(CheckpointError) {
        self.path = path
        self.fault = fault
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw FileSystem.error("create", path) }
    }

    deinit { close(descriptor) }

    func write(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
        var start = 0
        while start < bytes.count {
            let chunk = UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + Self.chunkSize, bytes.count)])
            hash.update(chunk)
            if let fault, let deadlyCount = fault.deadlyCount(in: chunk.count) {
                try writeFully(UnsafeRawBufferPointer(rebasing: chunk[..<deadlyCount]))
                fault.die()
            }
            try writeFully(chunk)
            start += chunk.count
        }
        byteCount += bytes.count
    }

    func write(_ bytes: [UInt8]) throws(CheckpointError) {
        let pointer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { pointer.deallocate() }
        pointer.copyBytes(from: bytes)
        try write(UnsafeRawBufferPointer(pointer))
    }

    private func writeFully(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
        var done = 0
        while done < bytes.count {
            let count = Foundation.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
            if count >= 0 {
                done += count
            } else if errno != EINTR {
                throw FileSystem.error("write", path)
            }
        }
    }

    /// Waits until the content is on the disk; returns its SHA-256. The output is used up.
    func finish() throws(CheckpointError) -> String {
        if fsync(descriptor) != 0 { throw FileSystem.error("sync", path) }
        var digest = Digest(.sha256)
        swap(&digest, &hash)
        return digest.finish()
    }
}

extension FileOutput {
    /// Writes `path` durably, in place of what is there: `body` fills a file of a temporary name beside it, which is synced
    /// and renamed, so that a file of this name is always complete. Returns the content's SHA-256.
    @discardableResult
    static func replace(
        _ path: String, _ body: (FileOutput) throws(CheckpointError) -> Void
    ) throws(CheckpointError) -> String {
        let temporary = path + ".tmp"
        try FileSystem.remove(temporary)
        do {
            let output = try FileOutput(temporary)
            try body(output)
            let digest = try output.finish()
            try FileSystem.rename(temporary, to: path)
            try FileSystem.syncDirectory(FilePath.parent(of: path))
            return digest
        } catch {
            try? FileSystem.remove(temporary)
            throw error
        }
    }
}

/// Files that are complete or not there.
public enum DurableFile {
    /// Writes `bytes` to `path`: to a temporary name beside it, synced, renamed.
    public static func write(_ bytes: UnsafeRawBufferPointer, to path: String) throws(CheckpointError) {
        try FileOutput.replace(path) { output throws(CheckpointError) in try output.write(bytes) }
    }
}
