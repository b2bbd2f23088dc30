import CAllocationCounter
import DTrainCollectives
import DTrainTensor
import Testing

@Suite struct GradientReducerTests {
    /// Five parameters of 100, 16, 1000, 33 and 250 elements, at 0, 112, 128, 1136 and 1184; a frozen one behind.
    static let layout = ParameterLayout(
        trainable: [100, 16, 1000, 33, 250].enumerated().map { ("p\($0.offset)", [$0.element], .plain) },
        frozen: [("frozen", [64], .plain)])

    @Test func bucketsHaveTheBoundsOfParametersAndCoverTheArena() throws {
        try withReducer(bucket: 4 * 300, first: 4 * 120) { reducer, _, _, _ in
            // The second would pass the first bucket's 120; the third is larger than any bucket and stays alone.
            #expect(reducer.buckets == [0..<112, 112..<128, 128..<1136, 1136..<1440])
        }
        try withReducer(bucket: 4 * 300, first: 4 * 128) { reducer, _, _, _ in
            // Just full is not too full.
            #expect(reducer.buckets == [0..<128, 128..<1136, 1136..<1440])
        }
        try withReducer(bucket: 1 << 20, first: 1 << 20) { reducer, _, _, _ in #expect(reducer.buckets == [0..<1440]) }
        try withReducer(bucket: 4, first: 4) { reducer, _, _, _ in
            #expect(reducer.buckets == [0..<112, 112..<128, 128..<1136, 1136..<1184, 1184..<1440])
        }
        #expect(
            GradientReducer.defaultBucketByteCount == 2_097_152
                && GradientReducer.defaultFirstBucketByteCount == 1_048_576)
    }

    @Test func aBucketGoesAsSoonAsItsLastParameterIsReady() throws {
        try withReducer(bucket: 4 * 300, first: 4 * 120) { reducer, queue, spy, _ in
            func sent() throws -> [String] {
                try queue.perform { _ in }
                return spy.log
            }
            reducer.gradientsReady(0..<50)
            #expect(try sent() == [])
            reducer.gradientsReady(50..<100)
            #expect(try sent() == ["float 112"])
            reducer.gradientsReady(112..<600)
            #expect(try sent() == ["float 112", "float 16"])
            reducer.gradientsReady(600..<1128)
            #expect(try sent() == ["float 112", "float 16", "float 1008"])
            reducer.gradientsReady(1136..<1169)
            #expect(try sent().count == 3)
            // The last bucket and the tail: what nobody reported goes with the end of the step.
            let cost = try reducer.finish()
            #expect(spy.log == ["float 112", "float 16", "float 1008", "float 304", "double 3"])
            #expect(cost.bytesReduced == 4 * 1440 + 8 * 3 && cost.exposedSeconds >= 0)
        }
    }

    @Test func theNextStepBeginsAtTheFirstBucket() throws {
        try withReducer(bucket: 4 * 300, first: 4 * 120) { reducer, _, spy, _ in
            reducer.gradientsReady(0..<1434)
            _ = try reducer.finish()
            let first = spy.log
            reducer.gradientsReady(0..<1434)
            _ = try reducer.finish()
            #expect(first.count == 5 && spy.log == first + first)
        }
    }

    @Test(arguments: [1, 2, 3, 4]) func gradientsAndTailAreSumsOverAllRanks(size: Int) throws {
        let ranks = LoopbackCommunicator.group(size: size)
        let total = size * (size + 1) / 2
        let results = try onThreads(size) { rank -> [Bool] in
            let queue = try CommunicationQueue { ranks[rank] }
            let gradients = AlignedMemory(byteCount: 4 * Self.layout.trainableCount)
            let tail = AlignedMemory(byteCount: 64)
            let slice: MemorySlice<Float> = gradients.slice()
            let tailSlice: MemorySlice<Double> = tail.slice()[0..<2]
            let reducer = GradientReducer(
                layout: Self.layout, gradients: slice, tail: tailSlice, queue: queue, bucketByteCount: 4 * 300,
                firstBucketByteCount: 4 * 120)
            var isRight: [Bool] = []
            for step in 1...3 {
                for index in 0..<slice.count { slice[index] = Float(step * (rank + 1) * (index % 11)) }
                tailSlice[0] = Double(rank + 1)
                tailSlice[1] = Double(step)
                // Ranks report at different paces.
                if rank % 2 == 0 {
                    for segment in Self.layout.segments.prefix(5) { reducer.gradientsReady(segment.range) }
                }
                let cost = try reducer.finish()
                isRight += (0..<slice.count).map { slice[$0] == Float(step * total * ($0 % 11)) }
                isRight.append(tailSlice.array() == [Double(total), Double(step * size)])
                isRight.append(cost.bytesReduced == 4 * 1440 + 16)
            }
            try queue.close()
            return withExtendedLifetime((gradients, tail)) { isRight }
        }
        for isRight in results { #expect(isRight.count == 3 * 1442 && isRight.allSatisfy { $0 }) }
    }

    @Test func compressedGradientsAreHalfTheBytesAndTheTailStaysExact() throws {
        let ranks = LoopbackCommunicator.group(size: 3)
        let results = try onThreads(3) { rank in
            let queue = try CommunicationQueue { ranks[rank] }
            let memory = (0..<2).map { _ in AlignedMemory(byteCount: 4 * Self.layout.trainableCount) }
            let tailMemory = AlignedMemory(byteCount: 64)
            let (gradients, residual): (MemorySlice<Float>, MemorySlice<Float>) = (memory[0].slice(), memory[1].slice())
            let tail: MemorySlice<Double> = tailMemory.slice()[0..<1]
            let reducer = GradientReducer(
                layout: Self.layout, gradients: gradients, residual: residual, tail: tail, queue: queue,
                bucketByteCount: 4 * 300, firstBucketByteCount: 4 * 120)
            // Every bucket's sum over all steps is right to the last bit with what is left over.
            var total = [Float](repeating: 0, count: gradients.count)
            var cost: GradientReducer.StepCost?
            for step in 1...5 {
                for index in 0..<gradients.count { gradients[index] = Float((step * 1009 + rank * 77 + index) % 4099) }
                tail[0] = 1.000_000_001
                cost = try reducer.finish()
                for index in 0..<gradients.count { total[index] += gradients[index] }
            }
            let before = queue.statistics.bytesReduced
            try queue.close()
            return withExtendedLifetime((memory, tailMemory)) {
                (total, residual.array(), cost!.bytesReduced, before, tail[0])
            }
        }
        for index in 0..<Self.layout.trainableCount {
            var (exact, found) = (0, results[0].0[index])
            for rank in 0..<3 {
                for step in 1...5 { exact += (step * 1009 + rank * 77 + index) % 4099 }
                found += results[rank].1[index]
            }
            #expect(found == Float(exact))
        }
        for result in results {
            #expect(result.0 == results[0].0)
            #expect(result.2 == 2 * 1440 + 8 && result.3 == 5 * (2 * 1440 + 8))
            #expect(result.4 == 1.000_000_001 + 1.000_000_001 + 1.000_000_001)
        }
        #expect(results.contains { $0.1.contains { $0 != 0 } })
    }

    @Test func aFailureEndsTheStepWithItsErrorOnEveryRank() throws {
        let ranks = LoopbackCommunicator.group(size: 3)
        ranks[2].failOperation(number: 2, reason: "broken")
        let results = try outcomes(3) { rank in
            let queue = try CommunicationQueue { ranks[rank] }
            let memory = AlignedMemory(byteCount: 4 * Self.layout.trainableCount + 64)
            let reducer = GradientReducer(
                layout: Self.layout, gradients: memory.slice()[0..<Self.layout.trainableCount],
                tail: memory.slice()[0..<0], queue: queue, bucketByteCount: 4, firstBucketByteCount: 4)
            reducer.gradientsReady(0..<1434)
            _ = try withExtendedLifetime(memory) { try reducer.finish() }
        }
        for result in results {
            let error = #expect(throws: CommunicationError.self) { try result.get() }
            #expect("\(error!)".contains("all-reduce #2 failed: broken"))
        }
    }

    @Test(.enabled(if: allocation_count() >= 0)) func aStepAllocatesNothingOnTheComputeThread() throws {
        let ranks = LoopbackCommunicator.group(size: 2)
        let counts = try onThreads(2) { rank in
            let queue = try CommunicationQueue { ranks[rank] }
            let memory = AlignedMemory(byteCount: 4 * Self.layout.trainableCount)
            let tail = AlignedMemory(byteCount: 64)
            let reducer = GradientReducer(
                layout: Self.layout, gradients: memory.slice(), tail: tail.slice(), queue: queue,
                bucketByteCount: 4 * 300,
                firstBucketByteCount: 4 * 120)
            let ranges = Self.layout.segments.prefix(5).map(\.range)
            var before = 0
            for step in 0..<21 {
                if step == 1 { before = allocation_count() }
                for range in ranges { reducer.gradientsReady(range) }
                _ = try reducer.finish()
            }
            let count = allocation_count() - before
            try queue.close()
            return withExtendedLifetime((memory, tail)) { count }
        }
        #expect(counts == [0, 0])
    }

    @Test(.enabled(if: allocation_count() >= 0)) func theCounterSeesAllocations() throws {
        let before = allocation_count()
        let memory = AlignedMemory(byteCount: 100)
        #expect(allocation_count() > before)
        withExtendedLifetime(memory) {}
    }

    private func withReducer(
        bucket: Int, first: Int,
        _ body: (GradientReducer, CommunicationQueue, SpyCommunicator, MemorySlice<Float>) throws -> Void
    ) throws {
        let spy = SpyCommunicator()
        let queue = try CommunicationQueue { spy }
        let memory = AlignedMemory(byteCount: 4 * Self.layout.trainableCount)
        let tail = AlignedMemory(byteCount: 24)
        let reducer = GradientReducer(
            layout: Self.layout, gradients: memory.slice(), tail: tail.slice(), queue: queue, bucketByteCount: bucket,
            firstBucketByteCount: first)
        try body(reducer, queue, spy, memory.slice())
        withExtendedLifetime((memory, tail)) {}
    }
}
