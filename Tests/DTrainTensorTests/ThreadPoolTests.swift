import DTrainTensor
import Testing

@Suite struct ThreadPoolTests {
    @Test(arguments: [1, 2, 3, 5]) func everyIndexIsVisitedOnce(threads: Int) {
        let pool = ThreadPool(threadCount: threads)
        for count in [0, 1, 2, 7, 64, 1001] {
            let memory = AlignedMemory(byteCount: 4 * count)
            let visits: MemorySlice<Int32> = memory.slice()
            for _ in 0..<50 {
                pool.forEachPart(of: count, granularity: 4) { part, _ in for index in part { visits[index] += 1 } }
            }
            #expect(visits.array()[0..<count].allSatisfy { $0 == 50 })
        }
    }

    @Test func partsStartAtMultiplesOfTheGranularity() {
        let pool = ThreadPool(threadCount: 3)
        let parts = (0..<3).map { pool.part($0, of: 50, granularity: 16) }
        #expect(parts == [0..<32, 32..<50, 50..<50])
    }
}
