import DTrainEngine
import DTrainTensor
import Glibc
import Synchronization

/// Two ranks of a test, each on a thread of its own: `sum` waits for the other one and adds.
final class RankSum: StepContext, @unchecked Sendable {
    private final class Shared: @unchecked Sendable {
        let barrier = ThreadBarrier(threadCount: 2)
        /// Each rank writes its own.
        let contributions = [Contribution(), Contribution()]
    }
    private final class Contribution {
        var values: [Double] = []
    }

    private let shared: Shared?
    private let rank: Int

    private init(_ shared: Shared?, rank: Int) {
        self.shared = shared
        self.rank = rank
    }

    static var alone: RankSum { RankSum(nil, rank: 0) }
    static func pair() -> [RankSum] {
        let shared = Shared()
        return [RankSum(shared, rank: 0), RankSum(shared, rank: 1)]
    }

    func gradientsReady(_ range: Range<Int>) {}

    func sum(_ values: MemorySlice<Double>) {
        guard let shared else { return }
        shared.contributions[rank].values = values.array()
        shared.barrier.wait()
        let (first, second) = (shared.contributions[0].values, shared.contributions[1].values)
        for index in 0..<values.count { values[index] = first[index] + second[index] }
        shared.barrier.wait()
    }
}

/// Runs `body` on `count` threads at once.
func onThreads<Value: Sendable>(_ count: Int, _ body: @escaping @Sendable (Int) -> Value) -> [Value] {
    let values = Mutex([Value?](repeating: nil, count: count))
    let threads = (0..<count).map { index in
        startThread(named: "rank") {
            let value = body(index)
            values.withLock { $0[index] = value }
        }
    }
    for thread in threads { pthread_join(thread, nil) }
    return values.withLock { $0.map { $0! } }
}
