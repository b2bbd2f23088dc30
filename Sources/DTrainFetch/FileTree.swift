import DTrainTensor
import Foundation

/// Folders and files here.
enum FileTree {
    /// Creates `path` and what is missing above it.
    static func createDirectories(_ path: String) throws(FetchError) {
        var status = stat()
        if stat(path, &status) == 0 {
            guard status.st_mode & S_IFMT == S_IFDIR else {
                throw .fileSystem(operation: "use the folder", path: path, code: ENOTDIR)
            }
            return
        }
        let parent = FilePath.parent(of: path)
        if parent != path { try createDirectories(parent) }
        if mkdir(path, 0o777) != 0 && errno != EEXIST {
            throw .fileSystem(operation: "create", path: path, code: errno)
        }
    }

    /// Makes renames in a folder durable, where the file system can.
    static func syncDirectory(_ path: String) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    /// Waits until no other process holds a lock (flock) on what `descriptor` has open, and takes it; calls `onWait` once
    /// if that takes time. The system gives the lock up with the descriptor. A file system without locks is trusted.
    static func lock(_ descriptor: Int32, onWait: () -> Void) {
        var hasWaited = false
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK || errno == EINTR {
            if !hasWaited { onWait() }
            hasWaited = true
            usleep(50_000)
        }
    }

    /// Runs `body` while no other process does so for the same folder, which must exist.
    static func withLock<Result>(
        on folder: String, onWait: () -> Void, _ body: () throws(FetchError) -> Result
    ) throws(FetchError) -> Result {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .fileSystem(operation: "open", path: folder, code: errno) }
        defer { close(descriptor) }
        lock(descriptor, onWait: onWait)
        return try body()
    }

    /// The size of the regular file at `path`; nil where there is none.
    static func byteCount(_ path: String) -> Int? {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int(status.st_size)
    }

    static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// Removes a file, a link, or a folder with all in it; nothing where it does not exist.
    static func remove(_ path: String) throws(FetchError) {
        guard exists(path) else { return }
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            throw .fileSystem(operation: "remove", path: path, code: errno)
        }
    }
}
