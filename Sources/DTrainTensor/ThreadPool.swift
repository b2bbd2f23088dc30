internal import CKernels

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The threads that share one step's work: the caller and `threadCount` − 1 workers.
///
/// A call of `run` or `forEachPart` gives each thread one part and returns when all are done; nothing is allocated and
/// nobody spins: a waiting thread sleeps on a condition variable, because a spinning one takes a core from another
/// rank. The pool belongs to one calling thread at a time; parts must not call back into it.
public final class ThreadPool: @unchecked Sendable {
    public let threadCount: Int

    private typealias Body = (Int) -> Void
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let started = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let finished = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var generation = 0
    private var running = 0
    private var stopping = false
    private var body: UnsafePointer<Body>?
    private var threads: [pthread_t] = []

    public init(threadCount: Int) {
        precondition(threadCount >= 1)
        self.threadCount = threadCount
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(started, nil)
        pthread_cond_init(finished, nil)
        for index in 1..<max(threadCount, 1) {
            threads.append(startThread(named: "dtrain-compute") { [unowned self] in self.work(index) })
        }
    }

    deinit {
        pthread_mutex_lock(mutex)
        stopping = true
        pthread_cond_broadcast(started)
        pthread_mutex_unlock(mutex)
        for thread in threads { pthread_join(thread, nil) }
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(started)
        pthread_cond_destroy(finished)
        mutex.deallocate()
        started.deallocate()
        finished.deallocate()
    }

    /// Calls `body(thread)` once on each thread, the caller being thread 0.
    public func run(_ body: (_ thread: Int) -> Void) {
        guard threadCount > 1 else { return body(0) }
        withoutActuallyEscaping(body) { escapable in
            withUnsafePointer(to: escapable) { pointer in
                pthread_mutex_lock(mutex)
                self.body = pointer
                running = threadCount - 1
                generation += 1
                pthread_cond_broadcast(started)
                pthread_mutex_unlock(mutex)
                escapable(0)
                pthread_mutex_lock(mutex)
                while running > 0 { pthread_cond_wait(finished, mutex) }
                self.body = nil
                pthread_mutex_unlock(mutex)
            }
        }
    }

    /// Splits 0 ..< `count` into one contiguous part a thread, bounds at multiples of `granularity`, and calls
    /// `body(part, thread)` for each part that is not empty.
    public func forEachPart(of count: Int, granularity: Int = 1, _ body: (_ part: Range<Int>, _ thread: Int) -> Void) {
        run { thread in
            let part = self.part(thread, of: count, granularity: granularity)
            if !part.isEmpty { body(part, thread) }
        }
    }

    /// The part of 0 ..< `count` that `forEachPart` gives to `thread`. The first threads have work, the last may have none.
    public func part(_ thread: Int, of count: Int, granularity: Int = 1) -> Range<Int> {
        let units = (count + granularity - 1) / granularity
        let share = (units + threadCount - 1) / threadCount * granularity
        return min(share * thread, count)..<min(share * (thread + 1), count)
    }

    private func work(_ index: Int) {
        var seen = 0
        pthread_mutex_lock(mutex)
        while true {
            while generation == seen && !stopping { pthread_cond_wait(started, mutex) }
            if stopping { break }
            seen = generation
            let body = body!
            pthread_mutex_unlock(mutex)
            body.pointee(index)
            pthread_mutex_lock(mutex)
            running -= 1
            if running == 0 { pthread_cond_signal(finished) }
        }
        pthread_mutex_unlock(mutex)
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
    let argument = Unmanaged.passRetained(Box {
        dt_thread_set_name(name)
        body()
    }).toOpaque()
    let status = pthread_create(&thread, nil, { argument in
        Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
        return nil
    }, argument)
    guard status == 0 else { fatalError("cannot start thread \(name): error \(status)") }
    pthread_sigmask(SIG_SETMASK, &previous, nil)
    return thread
}
