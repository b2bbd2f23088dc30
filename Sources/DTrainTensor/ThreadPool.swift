#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif
internal import CKernels

/// Work that all threads of a pool do together. An object of its own, made once, so that starting it allocates nothing.
public protocol PoolTask: AnyObject {
    /// Called once on each thread; thread 0 is the caller of `ThreadPool.run`.
    func run(thread: Int)
}

/// The threads that share one step's work: the caller and `threadCount` − 1 workers.
///
/// Between tasks the workers sleep on a condition variable, because a spinning thread takes a core from another rank.
/// The pool belongs to one calling thread at a time; a task must not start another one.
public final class ThreadPool: @unchecked Sendable {
    public let threadCount: Int
    /// Where the threads of a running task meet.
    public let barrier: ThreadBarrier

    private let workers: Workers
    private var threads: [pthread_t] = []

    public init(threadCount: Int) {
        precondition(threadCount >= 1)
        self.threadCount = threadCount
        barrier = ThreadBarrier(threadCount: threadCount)
        let workers = Workers()
        self.workers = workers
        threads = (1..<max(threadCount, 1)).map { index in startThread(named: "dtrain-compute") { workers.work(index) }
        }
    }

    deinit {
        workers.stop()
        for thread in threads { pthread_join(thread, nil) }
    }

    /// Runs `task` on every thread and returns when all are done.
    public func run(_ task: any PoolTask) {
        guard threadCount > 1 else { return task.run(thread: 0) }
        workers.start(task, on: threadCount - 1)
        task.run(thread: 0)
        workers.waitUntilDone()
    }

    /// The part of 0 ..< `count` that belongs to `thread`, bounds at multiples of `granularity`. The parts are contiguous,
    /// in order and as even as that allows; the first threads have work, the last may have none.
    public func part(_ thread: Int, of count: Int, granularity: Int = 1) -> Range<Int> {
        let units = (count + granularity - 1) / granularity
        let share = (units + threadCount - 1) / threadCount * granularity
        return min(share * thread, count)..<min(share * (thread + 1), count)
    }
}

/// What the pool and its sleeping threads share.
private final class Workers: @unchecked Sendable {
    private let gate = ConditionVariable()
    private var generation = 0
    private var running = 0
    private var stopping = false
    private var task: (any PoolTask)?

    func start(_ task: any PoolTask, on count: Int) {
        gate.lock()
        self.task = task
        running = count
        generation += 1
        gate.signalAll()
        gate.unlock()
    }

    func waitUntilDone() {
        gate.lock()
        while running > 0 { gate.wait() }
        task = nil
        gate.unlock()
    }

    func stop() {
        gate.lock()
        stopping = true
        gate.signalAll()
        gate.unlock()
    }

    /// One thread's life: sleep, run its part of a task, sleep again.
    func work(_ index: Int) {
        var seen = 0
        gate.lock()
        while true {
            while generation == seen && !stopping { gate.wait() }
            if stopping { break }
            seen = generation
            let task = task!
            gate.unlock()
            task.run(thread: index)
            gate.lock()
            running -= 1
            if running == 0 { gate.signalAll() }
        }
        gate.unlock()
    }
}

/// Starts a POSIX thread that runs `body`; join it with `pthread_join`. Signals stay with the main thread.
public func startThread(named name: String, _ body: @escaping () -> Void) -> pthread_t {
    final class Box {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }
    var every = sigset_t()
    var previous = sigset_t()
    sigfillset(&every)
    pthread_sigmask(SIG_BLOCK, &every, &previous)
    var thread = pthread_t()
    let argument = Unmanaged.passRetained(
        Box {
            dt_thread_set_name(name)
            body()
        }
    ).toOpaque()
    let status = pthread_create(
        &thread, nil,
        { argument in
            Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
            return nil
        }, argument)
    guard status == 0 else { fatalError("cannot start thread \(name): error \(status)") }
    pthread_sigmask(SIG_SETMASK, &previous, nil)
    return thread
}
