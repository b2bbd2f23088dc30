import Synchronization

/// A point that no thread of a group passes before all have reached it.
///
/// Threads of one step arrive within microseconds of each other, so a thread looks a few times before it sleeps; it
/// never spins for longer than sleeping and waking would take.
public final class ThreadBarrier: Sendable {
    private static let looks = 2_000

    private let threadCount: Int
    private let arrived = Atomic<Int>(0)
    private let generation = Atomic<Int>(0)
    private let sleepers = ConditionVariable()

    public init(threadCount: Int) { self.threadCount = threadCount }

    /// Waits for the other threads.
    public func wait() {
        guard threadCount > 1 else { return }
        let current = generation.load(ordering: .acquiring)
        if arrived.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue == threadCount {
            arrived.store(0, ordering: .relaxed)
            sleepers.lock()
            generation.wrappingAdd(1, ordering: .releasing)
            sleepers.signalAll()
            sleepers.unlock()
            return
        }
        for _ in 0..<Self.looks where generation.load(ordering: .acquiring) != current { return }
        sleepers.lock()
        while generation.load(ordering: .acquiring) == current { sleepers.wait() }
        sleepers.unlock()
    }
}
