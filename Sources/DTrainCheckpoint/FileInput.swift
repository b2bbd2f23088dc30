import DTrainDigest
import Foundation

/// A file that is read at given places.
final class FileInput: Sendable {
    let path: String
    let byteCount: Int
    private let descriptor: Int32

    init(_ path: String) throws(CheckpointError) {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw errno == ENOENT ? .missingFile(path: path) : FileSystem.error("open", path)
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileSystem.error("read", path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw FileSystem.error("read", path, EISDIR) }
        byteCount = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// Fills `bytes` from `offset` on.
    func read(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(CheckpointError) {
        var done = 0
        while done < bytes.count {
            let count = pread(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset + done))
            if count > 0 {
                done += count
            } else if count == 0 {
                throw .wrongSize(path: path, expected: byteCount, found: offset + done)
            } else if errno != EINTR {
                throw FileSystem.error("read", path)
            }
        }
    }

    func bytes(_ range: Range<Int>) throws(CheckpointError) -> [UInt8] {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count, alignment: 1)
        defer { buffer.deallocate() }
        try read(buffer, at: range.lowerBound)
        return Array(buffer)
    }

    /// The SHA-256 of the whole file.
    func digest() throws(CheckpointError) -> String {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { buffer.deallocate() }
        var hash = Digest(.sha256)
        var offset = 0
        while offset < byteCount {
            let chunk = UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(buffer.count, byteCount - offset)])
            try read(chunk, at: offset)
            hash.update(UnsafeRawBufferPointer(chunk))
            offset += chunk.count
        }
        return hash.finish()
    }
}
