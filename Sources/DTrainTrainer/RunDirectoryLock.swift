import DTrainCollectives
import Foundation
import DTrainTensor

/// Keeps a second run out of a run directory: an advisory lock on the directory itself, which the system gives up when
/// the process ends, however it ends.
final class RunDirectoryLock {
    private let descriptor: Int32

    /// Locks `path`. Throws `TrainerError.runDirectoryInUse` where another run holds it for longer than `patienceSeconds`.
    /// A file system without locks is trusted.
    init(_ path: String, patienceSeconds: Double) throws {
        descriptor = try Self.lock(path, patienceSeconds)
    }

    deinit { close(descriptor) }

    /// An open descriptor that holds the lock.
    private static func lock(_ path: String, _ patienceSeconds: Double) throws -> Int32 {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw TrainerError.runDirectory(path: path, reason: String(cString: strerror(errno)))
        }
        let deadline = monotonicSeconds() + patienceSeconds
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK || errno == EINTR {
            guard monotonicSeconds() < deadline else {
                close(descriptor)
                throw TrainerError.runDirectoryInUse(path: path)
            }
            usleep(50_000)
        }
        return descriptor
    }
}
