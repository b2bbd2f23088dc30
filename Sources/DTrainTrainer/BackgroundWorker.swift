import DTrainCollectives
import DTrainTensor
#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif
import Synchronization

/// One job at a time on a thread of its own: the checkpoint that is written, or the snapshot that is evaluated, while
/// training goes on. Used from one thread.
final class BackgroundWorker {
    private final class Outcome: Sendable {
        let failure = Mutex<(any Error)?>(nil)
    }

    private let name: String
    private let outcome = Outcome()
    private var thread: pthread_t?

    init(name: String) { self.name = name }

    deinit { if let thread { pthread_join(thread, nil) } }

    /// Runs `job`; none may be under way.
    func start(_ job: @escaping () throws -> Void) {
        precondition(thread == nil, "two jobs at a time")
        let outcome = outcome
        thread = startThread(named: name) {
            do { try job() } catch { outcome.failure.withLock { $0 = $0 ?? error } }
        }
    }

    /// Waits for the job under way, if any; returns for how many seconds. Throws what any job has thrown.
    @discardableResult
    func waitUntilIdle() throws -> Double {
        let start = monotonicSeconds()
        if let thread { pthread_join(thread, nil) }
        thread = nil
        try throwFailure()
        return monotonicSeconds() - start
    }

    /// Throws what a job has thrown, without waiting.
    func throwFailure() throws {
        if let failure = outcome.failure.withLock({ $0 }) { throw failure }
    }
}
