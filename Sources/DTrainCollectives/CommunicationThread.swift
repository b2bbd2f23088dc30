import DTrainTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The thread behind a `CommunicationQueue` and the ring that feeds it. It keeps itself alive until it ends, so a
/// thread that is stuck in a lost exchange never stops the process from leaving.
final class CommunicationThread: @unchecked Sendable {
    enum Work {
        case operation(CommunicationOperation, group: Int)
        case call(Unmanaged<Call>, group: Int)
    }

    /// A closure to run on the thread. The queue holds a reference to it, so that it outlives a waiter that gave up.
    final class Call {
        let body: (any Communicator) throws -> Void
        init(_ body: @escaping (any Communicator) throws -> Void) { self.body = body }
    }

    private let monitor = ConditionVariable()
    private let ring: UnsafeMutablePointer<Work>
    private let capacity: Int
    // All below is guarded by the monitor.
    private var submitted = 0
    private var completed = 0
    private var communicators: [any Communicator] = []
    private var failedNumber = Int.max
    private var failure: (any Error)?
    private var totals = CommunicationQueue.Statistics()
    private var observer: (any CommunicationObserver)?
    private var current = 0
    private var abortCode: Int32?
    private var isEnding = false
    private var waiterCount = 0
    private var ended = false

    init(capacity: Int) {
        self.capacity = capacity
        ring = .allocate(capacity: capacity)
        ring.initialize(repeating: .operation(.barrier, group: 0), count: capacity)
    }

    deinit { ring.deallocate() }

    /// Starts the thread; returns the communicator that it made.
    func start(_ makeCommunicator: @escaping @Sendable () throws -> any Communicator) throws -> any Communicator {
        let thread = startThread(named: "dtrain-comm") { self.run(makeCommunicator) }
        pthread_detach(thread)
        return try monitor.withLock {
            while communicators.isEmpty && failure == nil { monitor.wait() }
            if let failure { throw failure }
            return communicators[0]
        }
    }

    /// Puts `work` at the end of the queue, waiting for room; returns its number.
    func submit(_ work: Work) -> Int {
        monitor.withLock {
            while submitted - completed == capacity { monitor.wait() }
            ring[submitted % capacity] = work
            submitted += 1
            monitor.signalAll()
            return submitted - 1
        }
    }

    /// Sleeps until the work of that number is done. Every second it asks the communicator whether the operation under
    /// way is stuck where it cannot be interrupted, and then leaves with that error.
    func wait(_ number: Int) throws {
        try monitor.withLock {
            guard completed <= number else { return try throwFailure(of: number) }
            let start = monotonicSeconds()
            waiterCount += 1
            communicators[0].setAwaited(true)
            defer {
                waiterCount -= 1
                communicators[0].setAwaited(waiterCount > 0)
                totals.waitedSeconds += monotonicSeconds() - start
            }
            while completed <= number {
                monitor.wait(seconds: 1)
                if completed <= number, let error = communicators[current].overdueError {
                    record(error, number: completed)
                    throw error
                }
            }
            try throwFailure(of: number)
        }
    }

    /// Lets the thread end once the queue is empty; it does not wait for that.
    func end() {
        monitor.withLock {
            isEnding = true
            monitor.signalAll()
        }
    }

    func isDone(_ number: Int) -> Bool { monitor.withLock { completed > number } }

    /// Adds a communicator that an operation of this thread has made; returns its index.
    func add(_ communicator: any Communicator) -> Int {
        monitor.withLock {
            communicators.append(communicator)
            return communicators.count - 1
        }
    }

    /// Tells `observer` of every operation that ends from now on; nil tells nobody.
    func observe(with observer: (any CommunicationObserver)?) { monitor.withLock { self.observer = observer } }

    var statistics: CommunicationQueue.Statistics { monitor.withLock { totals } }

    /// Has the thread call the communicator's `abort` where it is idle; calls it here where it is busy or does not answer.
    func abort(code: Int32) {
        let communicator: (any Communicator)? = monitor.withLock {
            abortCode = code
            monitor.signalAll()
            let deadline = monotonicSeconds() + 1
            while abortCode != nil && completed == submitted && !ended && monotonicSeconds() < deadline {
                monitor.wait(seconds: deadline - monotonicSeconds())
            }
            return abortCode == nil ? nil : communicators.first
        }
        communicator?.abort(code: code)
    }

    private func throwFailure(of number: Int) throws {
        if let failure, number >= failedNumber { throw failure }
    }

    /// The lock must be held.
    private func record(_ error: any Error, number: Int) {
        guard failure == nil else { return }
        failure = error
        failedNumber = number
    }

    private func run(_ makeCommunicator: () throws -> any Communicator) {
        do {
            let communicator = try makeCommunicator()
            monitor.withLock {
                communicators.append(communicator)
                monitor.signalAll()
            }
        } catch {
            monitor.withLock {
                record(error, number: 0)
                monitor.signalAll()
            }
            return
        }
        while serveNext() {}
        monitor.withLock {
            ended = true
            monitor.signalAll()
        }
    }

    /// Waits for work and does it; false at the end.
    private func serveNext() -> Bool {
        let next: (work: Work, communicator: any Communicator, failed: Bool)? = monitor.withLock {
            while completed == submitted && abortCode == nil && !isEnding { monitor.wait() }
            if abortCode != nil || completed == submitted { return nil }
            let work = ring[completed % capacity]
            switch work {
            case .operation(_, let group), .call(_, let group): current = group
            }
            return (work, communicators[current], failure != nil)
        }
        guard let next else { return abortIfAsked() }
        let start = monotonicNanoseconds()
        var thrown: (any Error)?
        var byteCount = 0
        switch next.work {
        case .operation(let operation, _):
            byteCount = operation.reducedByteCount
            do { if !next.failed { try operation.run(on: next.communicator) } } catch { thrown = error }
        case .call(let call, _):
            let call = call.takeRetainedValue()
            do { if !next.failed { try call.body(next.communicator) } } catch { thrown = error }
        }
        monitor.withLock {
            if let thrown { record(thrown, number: completed) }
            let end = monotonicNanoseconds()
            if case .operation(let operation, _) = next.work { observer?.ran(operation, from: start, to: end) }
            totals.busySeconds += Double(end - start) * 1e-9
            totals.bytesReduced += byteCount
            totals.operationCount += 1
            completed += 1
            monitor.signalAll()
        }
        return true
    }

    /// Calls the communicator's `abort` where somebody has asked for it; false where nobody has.
    private func abortIfAsked() -> Bool {
        let (code, communicator) = monitor.withLock { (abortCode, communicators[0]) }
        guard let code else { return false }
        communicator.abort(code: code)
        monitor.withLock {
            abortCode = nil
            monitor.signalAll()
        }
        return true
    }
}
