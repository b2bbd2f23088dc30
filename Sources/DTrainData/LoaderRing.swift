import DTrainTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What a loader's threads and its consumer share: a ring of batches under one lock.
///
/// Work item i lives in batch i mod depth. Threads claim items in order, but only those whose batch the consumer has
/// given back; `number` of a batch says which item it holds.
final class LoaderRing: @unchecked Sendable {
    let work: LoaderWork
    private let source: any BatchSource
    private let batches: [Batch]
    private let threadCount: Int

    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let filled = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let released = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    // All below is guarded by the mutex.
    private var claimedCount = 0
    private var handedOutCount = 0
    private var releasedCount = 0
    private var failure: (number: Int, error: any Error)?
    private var isStarted = false
    private var stopping = false
    private var waitedNanoseconds = 0
    private var threads: [pthread_t] = []
    private var observer: (any LoaderObserver)?

    init(_ source: any BatchSource, work: LoaderWork, threadCount: Int, depth: Int) {
        self.work = work
        self.source = source
        self.threadCount = min(threadCount, work.count)
        let depth = min(depth, max(work.count, 1))
        batches = (0..<depth).map { _ in source.batch(capacity: work.capacity) }
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(filled, nil)
        pthread_cond_init(released, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(filled)
        pthread_cond_destroy(released)
        mutex.deallocate()
        filled.deallocate()
        released.deallocate()
    }

    // MARK: The consumer's side

    func next() throws -> Batch? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        if !isStarted { start() }
        if releasedCount < handedOutCount {
            releasedCount = handedOutCount
            pthread_cond_signal(released)
        }
        if stopping || handedOutCount == work.count { return nil }
        let number = handedOutCount
        let batch = batches[number % batches.count]
        if !isSettled(batch, number) {
            let start = monotonicNanoseconds()
            while !isSettled(batch, number) { pthread_cond_wait(filled, mutex) }
            waitedNanoseconds += monotonicNanoseconds() - start
        }
        if stopping { return nil }
        if batch.number == number {
            handedOutCount += 1
            return batch
        }
        throw failure!.error
    }

    /// Whether `next()` can answer for item `number`: it is there, it failed, or nothing more will come.
    private func isSettled(_ batch: Batch, _ number: Int) -> Bool {
        batch.number == number || stopping || failure?.number == number
    }

    var waitedSeconds: Double {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return Double(waitedNanoseconds) * 1e-9
    }

    /// Starts the loader threads, with the mutex held. They keep the ring alive until they end.
    private func start() {
        isStarted = true
        guard !stopping else { return }
        threads = (0..<threadCount).map { thread in
            startThread(named: "dtrain-loader") { self.fillUntilDone(thread) }
        }
    }

    /// Ends the threads; of several callers, the first joins them.
    func stop() {
        pthread_mutex_lock(mutex)
        stopping = true
        let joining = threads
        threads = []
        pthread_cond_broadcast(filled)
        pthread_cond_broadcast(released)
        pthread_mutex_unlock(mutex)
        for thread in joining { pthread_join(thread, nil) }
    }

    // MARK: The loader threads' side

    func observe(with observer: (any LoaderObserver)?) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        self.observer = observer
    }

    private func fillUntilDone(_ thread: Int) {
        let filler = source.filler()
        pthread_mutex_lock(mutex)
        while true {
            while claimedCount < work.count && claimedCount >= releasedCount + batches.count && !stopping
                && failure == nil
            {
                pthread_cond_wait(released, mutex)
            }
            if stopping || failure != nil || claimedCount == work.count { break }
            let number = claimedCount
            claimedCount += 1
            let batch = batches[number % batches.count]
            pthread_mutex_unlock(mutex)
            do {
                let start = monotonicNanoseconds()
                batch.item = work[number]
                let isComplete = try filler.fill(batch) { !isStopping }
                pthread_mutex_lock(mutex)
                if isComplete {
                    batch.number = number
                    observer?.filled(batch: number, thread: thread, from: start, to: monotonicNanoseconds())
                }
            } catch {
                pthread_mutex_lock(mutex)
                if failure.map({ number < $0.number }) ?? true { failure = (number, error) }
                pthread_cond_broadcast(released)
            }
            pthread_cond_broadcast(filled)
        }
        pthread_mutex_unlock(mutex)
    }

    private var isStopping: Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return stopping
    }
}
