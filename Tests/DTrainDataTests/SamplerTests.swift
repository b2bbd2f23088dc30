import DTrainData
import DTrainTensor
import Testing

@Suite struct SamplerTests {
    private func order(_ sampler: Sampler, _ epoch: Int) -> [Int] {
        let order = sampler.order(epoch: epoch)
        return (0..<order.count).map { order[$0] }
    }

    @Test func everyEpochIsAPermutationAndAnotherOne() throws {
        let sampler = try Sampler(sampleCount: 1003, batchSize: 10, seed: 5)
        let epochs = (0..<4).map { order(sampler, $0) }
        for epoch in epochs { #expect(epoch.sorted() == Array(0..<1003)) }
        #expect(Set(epochs).count == 4)
        #expect(epochs[0] != Array(0..<1003))
    }

    @Test func theOrderDependsOnSeedAndEpochAndNotOnTheBatchSize() throws {
        let first = try Sampler(sampleCount: 100, batchSize: 7, seed: 1)
        #expect(order(first, 3) == order(try Sampler(sampleCount: 100, batchSize: 50, seed: 1), 3))
        #expect(order(first, 3) != order(try Sampler(sampleCount: 100, batchSize: 7, seed: 2), 3))
        #expect(order(first, 3) != order(try Sampler(sampleCount: 100, batchSize: 7, seed: 1 << 40 | 1), 3))
    }

    /// The order is part of what a checkpoint resumes: these values must never change. They are the shuffle of Fisher
    /// and Yates from the last position down, position i swapped with ⌊2⁻⁶⁴ (i + 1) w⌋, w from Philox; the values come
    /// from another implementation.
    @Test func theOrderOfASeedIsPinned() throws {
        #expect(order(try Sampler(sampleCount: 10, batchSize: 2, seed: 42), 0) == [5, 7, 9, 0, 6, 1, 2, 3, 8, 4])
        #expect(order(try Sampler(sampleCount: 10, batchSize: 2, seed: 42), 1) == [3, 8, 4, 6, 1, 9, 5, 0, 2, 7])
    }

    @Test func allPermutationsAreEquallyLikely() throws {
        let sampler = try Sampler(sampleCount: 3, batchSize: 1, seed: 9)
        var counts: [[Int]: Int] = [:]
        for epoch in 0..<6000 { counts[order(sampler, epoch), default: 0] += 1 }
        // 1,000 each ± 5 standard deviations of 29.
        #expect(counts.count == 6 && counts.values.allSatisfy { abs($0 - 1000) < 145 })
    }

    @Test func withoutShufflingTheOrderIsTheDataSetsOwn() throws {
        let sampler = try Sampler(sampleCount: 20, batchSize: 4, seed: 1, shuffles: false)
        #expect(order(sampler, 0) == Array(0..<20) && order(sampler, 7) == Array(0..<20))
    }

    @Test func anIncompleteLastBatchIsDroppedAndCounted() throws {
        let sampler = try Sampler(sampleCount: 103, batchSize: 10, seed: 1)
        #expect(sampler.batchesPerEpoch == 10 && sampler.droppedSampleCount == 3)
        #expect(try Sampler(sampleCount: 100, batchSize: 10, seed: 1).droppedSampleCount == 0)
    }

    @Test func aStepHasItsEpochAndBatch() throws {
        let sampler = try Sampler(sampleCount: 103, batchSize: 10, seed: 1)
        #expect(sampler.position(ofStep: 0) == (0, 0))
        #expect(sampler.position(ofStep: 9) == (0, 9))
        #expect(sampler.position(ofStep: 10) == (1, 0))
        #expect(sampler.position(ofStep: 37) == (3, 7))
    }

    @Test func aBatchSizeThatDoesNotFitIsRefused() throws {
        #expect(throws: DataUsageError.batchSize(batchSize: 11, sampleCount: 10)) {
            try Sampler(sampleCount: 10, batchSize: 11, seed: 1)
        }
        #expect(throws: DataUsageError.batchSize(batchSize: 0, sampleCount: 10)) {
            try Sampler(sampleCount: 10, batchSize: 0, seed: 1)
        }
        #expect("\(DataUsageError.batchSize(batchSize: 11, sampleCount: 10))".contains("at most 10"))
        #expect("\(DataUsageError.batchSize(batchSize: 0, sampleCount: 10))".contains("at least 1"))
        #expect(try Sampler(sampleCount: 10, batchSize: 10, seed: 1).batchesPerEpoch == 1)
    }
}

@Suite struct ShardTests {
    @Test(arguments: [(64, 1), (64, 3), (65, 8), (8, 8), (0, 2), (3, 5)])
    func shardsAreContiguousCompleteAndEven(count: Int, parts: Int) {
        let shards = Shard.split(count, into: parts)
        #expect(shards.count == parts)
        #expect(shards.flatMap { Array($0.range) } == Array(0..<count))
        let sizes = shards.map(\.rows)
        #expect(sizes.max()! - sizes.min()! <= 1)
    }

    @Test(arguments: [(1, 1), (1, 4), (2, 3), (3, 1), (4, 2), (8, 2)])
    func theShardsOfAllRanksAreTheBatchInOrder(ranks: Int, accumulation: Int) throws {
        let positions = try (0..<ranks).flatMap { rank in
            let shards = try Shard.ofRank(rank, of: ranks, batchSize: 50, accumulation: accumulation)
            #expect(shards.count == accumulation)
            return shards.flatMap { Array($0.range) }
        }
        #expect(positions == Array(0..<50))
    }

    @Test func aBatchSmallerThanTheShardsIsRefused() throws {
        let error = #expect(throws: DataUsageError.self) {
            try Shard.ofRank(0, of: 4, batchSize: 7, accumulation: 2)
        }
        #expect(error == .batchTooSmall(batchSize: 7, ranks: 4, accumulation: 2))
        #expect("\(try #require(error))".contains("choose at least 8"))
        #expect(try Shard.ofRank(3, of: 4, batchSize: 8, accumulation: 2).map(\.rows) == [1, 1])
    }
}
