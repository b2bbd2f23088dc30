import CAllocationCounter
import DTrainData
import DTrainTensor
import Testing

/// Sequences whose token t is 1000 · sample + t, with a label a sequence, or one a token.
private final class NumberedSequences: SequenceDataset, @unchecked Sendable {
    let name = "numbered"
    let split = DatasetSplit.train
    let classNames = ["a", "b"]
    let digest = ""
    let vocabulary = Vocabulary([])
    let isStream = false
    let labelsEachToken: Bool
    let longest: Int
    let lengthOf: [Int]
    /// By the order of reading; one thread reads.
    private(set) var allocations: [Int] = []
    var count: Int { lengthOf.count }

    init(_ lengths: [Int], labelsEachToken: Bool = false) {
        lengthOf = lengths
        longest = lengths.max()!
        self.labelsEachToken = labelsEachToken
        allocations.reserveCapacity(100_000)
    }

    func length(of index: Int) -> Int { lengthOf[index] }
    func read(_ index: Int, into tokens: MemorySlice<Int32>, labels: MemorySlice<Int32>) {
        for step in 0..<lengthOf[index] {
            tokens[step] = Int32(1000 * index + step)
            if labelsEachToken { labels[step] = Int32(-1000 * index - step) }
        }
        if !labelsEachToken { labels[0] = Int32(index) }
        allocations.append(allocation_count())
    }
}

@Suite struct SequenceLoaderTests {
    /// Lengths of 1 to `longest`, in no order.
    private func lengths(_ count: Int, longest: Int) -> [Int] { (0..<count).map { 1 + ($0 * $0 * 7 + $0) % longest } }

    @Test(
        "A shard is packed step after step, the longest first, equal ones by position, for every way to cut the batch",
        arguments: [(1, 1), (2, 1), (3, 2), (5, 1)])
    func packs(ranks: Int, accumulation: Int) throws {
        for labelsEachToken in [false, true] {
            let dataset = NumberedSequences(lengths(64, longest: 9), labelsEachToken: labelsEachToken)
            let sampler = try Sampler(sampleCount: 64, batchSize: 15, seed: 3, lengths: dataset.lengths)
            for rank in 0..<ranks {
                let shards = try Shard.ofRank(rank, of: ranks, batchSize: 15, accumulation: accumulation)
                let loader = DataLoader(
                    sequences: dataset, sampler: sampler,
                    work: .training(sampler: sampler, shards: shards, steps: 2..<11),
                    threadCount: 2)
                var batches = 0
                while let batch = try loader.next() {
                    batches += 1
                    let order = sampler.order(epoch: batch.item.epoch)
                    func sample(_ position: Int32) -> Int { order[batch.item.batch * 15 + Int(position)] }
                    // The oracle: sorted positions, then step after step of those that are not over.
                    let positions = batch.item.shard.range.map { Int32($0) }.sorted {
                        (-dataset.lengthOf[sample($0)], $0) < (-dataset.lengthOf[sample($1)], $1)
                    }
                    var tokens: [Int32] = []
                    for step in 0..<9 {
                        for position in positions where dataset.lengthOf[sample(position)] > step {
                            tokens.append(Int32(1000 * sample(position) + step))
                        }
                    }
                    #expect(batch.sequences.positions.array() == positions)
                    #expect(batch.sequences.lengths.array() == positions.map { Int32(dataset.lengthOf[sample($0)]) })
                    #expect(batch.tokens.array() == tokens)
                    #expect(
                        batch.labels.array()
                            == (labelsEachToken ? tokens.map { -$0 } : positions.map { Int32(sample($0)) }))
                    #expect(batch.sequences.tokenCount == batch.tokenCount)
                }
                #expect(batches == 9 * accumulation)
            }
        }
    }

    @Test(
        "Over all ranks an evaluation has every character once, each stream in order on one rank",
        arguments: [1, 2, 3, 40])
    func streamsOverRanks(ranks: Int) throws {
        let test = try TextDataset.embeddedSample().test
        for rows in [1, 5, 64] {
            let streams = test.evaluationStreams(longest: 50)
            var seen = [[Int32]](repeating: [], count: streams.streamCount)
            for rank in 0..<ranks {
                let loader = DataLoader.evaluation(sequences: streams, rank: rank, rankCount: ranks, rows: rows)
                while let batch = try loader.next() {
                    #expect(batch.rows <= rows)
                    var place = 0
                    let packed = batch.sequences
                    for step in 0..<packed.stepCount {
                        for row in 0..<batch.rows where packed.lengths[row] > step {
                            seen[Int(packed.positions[row])].append(batch.labels[place])
                            place += 1
                        }
                    }
                }
            }
            #expect(seen.flatMap { $0 } == Array(test.tokens.dropFirst()))
        }
    }

    @Test("Buckets: each epoch is a permutation of its own, whose batches have nearly one length and come in no order")
    func buckets() throws {
        let dataset = try NameDataset.embeddedSample().train
        let (lengths, batchSize) = (dataset.lengths, 32)
        func padding(_ sampler: Sampler, epoch: Int) -> Double {
            let order = sampler.order(epoch: epoch)
            var (padded, tokens) = (0, 0)
            for batch in 0..<sampler.batchesPerEpoch {
                let batch = (0..<batchSize).map { Int(lengths[order[batch * batchSize + $0]]) }
                padded += batchSize * batch.max()!
                tokens += batch.reduce(0, +)
            }
            return Double(padded - tokens) / Double(padded)
        }
        let bucketed = try Sampler(sampleCount: dataset.count, batchSize: batchSize, seed: 5, lengths: lengths)
        let shuffled = try Sampler(sampleCount: dataset.count, batchSize: batchSize, seed: 5)
        let (with, without) = (padding(bucketed, epoch: 0), padding(shuffled, epoch: 0))
        print("padding: \(with) of the tokens in buckets, \(without) without")
        #expect(with < 0.05 && without > 0.25)
        let orders = (0..<3).map { epoch in (0..<dataset.count).map { bucketed.order(epoch: epoch)[$0] } }
        for order in orders { #expect(order.sorted() == Array(0..<dataset.count)) }
        #expect(orders[0] != orders[1] && orders[1] != orders[2])
        let again = try Sampler(sampleCount: dataset.count, batchSize: batchSize, seed: 5, lengths: lengths).order(
            epoch: 1)
        #expect((0..<dataset.count).map { again[$0] } == orders[1])
        // What fills no batch is left out by chance: not the longest, and others in each epoch.
        let left = orders.map { Set($0[(bucketed.batchesPerEpoch * batchSize)...]) }
        #expect(left[0].count == dataset.count % batchSize && left[0] != left[1])
        // Batches do not come sorted by length.
        let means = (0..<bucketed.batchesPerEpoch).map { lengths[orders[0][$0 * batchSize]] }
        #expect(means != means.sorted() && means != means.sorted(by: >))
        // Without shuffling lengths change nothing.
        let plain = try Sampler(sampleCount: dataset.count, batchSize: 32, seed: 5, shuffles: false, lengths: lengths)
        #expect((0..<dataset.count).map { plain.order(epoch: 2)[$0] } == Array(0..<dataset.count))
    }

    @Test("A loader thread allocates nothing from one sample to the next", .enabled(if: allocation_count() >= 0))
    func allocatesNothing() throws {
        let dataset = NumberedSequences(lengths(400, longest: 30), labelsEachToken: true)
        let sampler = try Sampler(sampleCount: 400, batchSize: 16, seed: 1, lengths: dataset.lengths)
        let loader = DataLoader(
            sequences: dataset, sampler: sampler,
            work: .training(sampler: sampler, shards: [Shard(offset: 0, rows: 16)], steps: 0..<25))
        var batches = 0
        while try loader.next() != nil { batches += 1 }
        loader.stop()
        #expect(batches == 25 && dataset.allocations.count == 400)
        #expect(dataset.allocations[399] == dataset.allocations[20])
    }
}
