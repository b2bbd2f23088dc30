import DTrainTensor
import Foundation

/// `FILE.part`: what has come of FILE so far, locked against other processes for as long as this object lives.
///
/// The lock (flock) is on the partial file itself, so nothing else is left behind, and the system gives it up however
/// the process ends. A file system without locks is trusted.
final class PartialFile {
    let path: String
    private let destination: String
    private let descriptor: Int32
    private(set) var byteCount: Int

    /// Opens or creates the partial file of `destination`. While another process holds it, calls `onWait` once and waits.
    init(of destination: String, onWait: () -> Void) throws(FetchError) {
        self.destination = destination
        path = destination + ".part"
        descriptor = try Self.open(path, onWait)
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            close(descriptor)
            throw .fileSystem(operation: "read", path: path, code: errno)
        }
        byteCount = Int(status.st_size)
    }

    deinit { close(descriptor) }

    private static func open(_ path: String, _ onWait: () -> Void) throws(FetchError) -> Int32 {
        var hasWaited = false
        while true {
            let descriptor = Foundation.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
            guard descriptor >= 0 else { throw .fileSystem(operation: "create", path: path, code: errno) }
            FileTree.lock(descriptor) {
                if !hasWaited { onWait() }
                hasWaited = true
            }
            // Who held it may have finished: then the name is gone, or stands for a newer file.
            var held = stat(), named = stat()
            if fstat(descriptor, &held) == 0, stat(path, &named) == 0, held.st_ino == named.st_ino,
                held.st_dev == named.st_dev
            {
                return descriptor
            }
            close(descriptor)
        }
    }

    func append(_ bytes: UnsafeRawBufferPointer) throws(FetchError) {
        var done = 0
        while done < bytes.count {
            let count = pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(byteCount))
            if count >= 0 {
                done += count
                byteCount += count
            } else if errno != EINTR {
                throw .fileSystem(operation: "write", path: path, code: errno)
            }
        }
    }

    func clear() throws(FetchError) {
        guard ftruncate(descriptor, 0) == 0 else { throw .fileSystem(operation: "truncate", path: path, code: errno) }
        byteCount = 0
    }

    /// Whether it begins as HTML does.
    var isWebPage: Bool {
        var start = [UInt8](repeating: 0, count: 64)
        let count = pread(descriptor, &start, start.count, 0)
        let text = String(decoding: start.prefix(max(0, count)), as: UTF8.self).lowercased()
        return text.contains("<!doctype html") || text.contains("<html")
    }

    /// Gives the file its own name, durably.
    func commit() throws(FetchError) {
        guard fsync(descriptor) == 0 else { throw .fileSystem(operation: "sync", path: path, code: errno) }
        guard rename(path, destination) == 0 else {
            throw .fileSystem(operation: "rename \(path) to", path: destination, code: errno)
        }
        FileTree.syncDirectory(FilePath.parent(of: destination))
    }

    func remove() throws(FetchError) {
        guard unlink(path) == 0 else { throw .fileSystem(operation: "remove", path: path, code: errno) }
    }
}
