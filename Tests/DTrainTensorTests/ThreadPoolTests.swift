import DTrainTensor
import Testing

@Suite struct ThreadPoolTests {
    /// Adds 1 to every element, each thread on its part.
    private final class Increment: PoolTask {
        let pool: ThreadPool
        let visits: MemorySlice<Int32>
        init(_ pool: ThreadPool, _ visits: MemorySlice<Int32>) { (self.pool, self.visits) = (pool, visits) }
        func run(thread: Int) {
            for index in pool.part(thread, of: visits.count, granularity: 4) { visits[index] += 1 }
        }
    }

    @Test(arguments: [1, 2, 3, 5]) func everyIndexIsVisitedOnce(threads: Int) {
        let pool = ThreadPool(threadCount: threads)
        for count in [0, 1, 2, 7, 64, 1001] {
            let memory = AlignedMemory(byteCount: 4 * count)
            let visits = memory.slice(of: Int32.self)[0..<count]
            let task = Increment(pool, visits)
            for _ in 0..<50 { pool.run(task) }
            #expect(visits.array().allSatisfy { $0 == 50 })
        }
    }

    @Test func partsStartAtMultiplesOfTheGranularity() {
        let pool = ThreadPool(threadCount: 3)
        let parts = (0..<3).map { pool.part($0, of: 50, granularity: 16) }
        #expect(parts == [0..<32, 32..<50, 50..<50])
    }

    /// Each thread writes its number, meets the others, and adds up what all have written.
    private final class Exchange: PoolTask {
        let pool: ThreadPool
        let written: MemorySlice<Int>
        let sums: MemorySlice<Int>
        init(_ pool: ThreadPool, _ memory: AlignedMemory) {
            self.pool = pool
            let all: MemorySlice<Int> = memory.slice()
            (written, sums) = (all[0..<pool.threadCount], all[pool.threadCount..<2 * pool.threadCount])
        }
        func run(thread: Int) {
            for round in 0..<500 {
                written[thread] = thread + round
                pool.barrier.wait()
                sums[thread] += written.buffer.reduce(0, +)
                pool.barrier.wait()
            }
        }
    }

    @Test(arguments: [2, 3, 4]) func nobodyPassesTheBarrierBeforeAllHaveReachedIt(threads: Int) {
        let pool = ThreadPool(threadCount: threads)
        let memory = AlignedMemory(byteCount: 16 * threads)
        let task = Exchange(pool, memory)
        pool.run(task)
        let expected = (0..<500).reduce(0) { $0 + threads * (threads - 1) / 2 + threads * $1 }
        #expect(task.sums.array() == [Int](repeating: expected, count: threads))
    }
}
