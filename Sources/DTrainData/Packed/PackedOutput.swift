import DTrainTensor
import Foundation

/// A new file that is written from front to back, gets its beginning last, and then takes its final name.
final class PackedOutput {
    let path: String
    private(set) var byteCount = 0
    private let descriptor: Int32
    /// What has not been written yet: small pieces are joined.
    private var pending: [UInt8] = []

    private static let pendingByteCount = 1 << 20

    /// Creates `path`; what was there is lost. Throws `DataError.unwritable`.
    init(_ path: String) throws(DataError) {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw .unwritable(path: path, reason: errorText()) }
    }

    deinit { close(descriptor) }

    func write(_ bytes: [UInt8]) throws(DataError) {
        pending += bytes
        byteCount += bytes.count
        if pending.count >= Self.pendingByteCount { try flush() }
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws(DataError) {
        pending.append(contentsOf: bytes)
        byteCount += bytes.count
        if pending.count >= Self.pendingByteCount { try flush() }
    }

    /// Writes `beginning` over the first bytes, waits until all is on the disk, and renames the file to `target`.
    func finish(beginning: [UInt8], renamedTo target: String) throws(DataError) {
        try flush()
        guard pwrite(descriptor, beginning, beginning.count, 0) == beginning.count, fsync(descriptor) == 0 else {
            throw .unwritable(path: path, reason: errorText())
        }
        guard rename(path, target) == 0 else { throw .unwritable(path: target, reason: errorText()) }
        // The new name is safe once its folder is on the disk; some file systems cannot be asked for that.
        let folder = open(FilePath.parent(of: target), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }

    private func flush() throws(DataError) {
        var done = 0
        while done < pending.count {
            let count = pending.withUnsafeBytes {
                Foundation.write(descriptor, $0.baseAddress! + done, $0.count - done)
            }
            if count >= 0 {
                done += count
            } else if errno != EINTR {
                throw .unwritable(path: path, reason: errorText())
            }
        }
        pending.removeAll(keepingCapacity: true)
    }
}
