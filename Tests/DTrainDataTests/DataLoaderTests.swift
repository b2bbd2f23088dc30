import DTrainData
import DTrainTensor
import Foundation
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(10))) struct DataLoaderTests {
    /// What a training loader must deliver, straight from the sampler.
    private func expected(_ sampler: Sampler, _ shards: [Shard], _ steps: Range<Int>) -> [[Int]] {
        steps.flatMap { step in
            let (epoch, batch) = sampler.position(ofStep: step)
            let order = sampler.order(epoch: epoch)
            return shards.map { $0.range.map { order[batch * sampler.batchSize + $0] } }
        }
    }

    @Test(arguments: [1, 3]) func batchesComeInOrderWithTheSamplersSamples(threads: Int) throws {
        let sampler = try Sampler(sampleCount: 1000, batchSize: 24, seed: 7)
        let shards = [Shard(offset: 4, rows: 9), Shard(offset: 13, rows: 8)]
        let loader = DataLoader.training(
            dataset: NumberedDataset(count: 1000), sampler: sampler, shards: shards, steps: 0..<95,
            threadCount: threads)
        let batches = try drain(loader)
        #expect(loader.batchCount == 190 && loader.capacity == 9)
        #expect(batches.map(\.samples) == expected(sampler, shards, 0..<95))
        #expect(batches.allSatisfy { $0.labels == $0.samples.map { Int32($0 % 7) } })
        for (index, batch) in batches.enumerated() {
            let step = index / 2
            #expect(batch.item == WorkItem(epoch: step / 41, batch: step % 41, step: step, shard: shards[index % 2]))
        }
        #expect(try loader.next() == nil)
    }

    @Test(arguments: [2, 3, 4, 8]) func theShardsOfAllRanksMakeTheBatchOfOneRank(ranks: Int) throws {
        let sampler = try Sampler(sampleCount: 300, batchSize: 29, seed: 11)
        func load(_ rank: Int, of count: Int) throws -> [[Int]] {
            try drain(
                .training(
                    dataset: NumberedDataset(count: 300), sampler: sampler,
                    shards: Shard.ofRank(rank, of: count, batchSize: 29), steps: 0..<15)
            ).map(\.samples)
        }
        let parts = try (0..<ranks).map { try load($0, of: ranks) }
        let joined = (0..<15).map { step in parts.flatMap { $0[step] } }
        #expect(try joined == load(0, of: 1))
    }

    @Test func aStartInMidEpochDeliversTheRestOfTheWholeRun() throws {
        let sampler = try Sampler(sampleCount: 100, batchSize: 10, seed: 3)
        func load(_ steps: Range<Int>) throws -> [[Int]] {
            try drain(
                .training(
                    dataset: NumberedDataset(count: 100), sampler: sampler, shards: [Shard(offset: 0, rows: 10)],
                    steps: steps)
            ).map(\.samples)
        }
        #expect(try load(17..<34) == Array(load(0..<34)[17...]))
    }

    @Test(arguments: [(100, 1, 32), (100, 3, 7), (101, 4, 8), (50, 8, 64), (3, 8, 2)])
    func evaluationReadsEverySampleExactlyOnce(count: Int, ranks: Int, rows: Int) throws {
        let samples = try (0..<ranks).flatMap { rank in
            let batches = try drain(
                .evaluation(dataset: NumberedDataset(count: count), rank: rank, rankCount: ranks, rows: rows))
            #expect(batches.allSatisfy { $0.samples.count <= rows && !$0.samples.isEmpty })
            return batches.flatMap(\.samples)
        }
        #expect(samples == Array(0..<count))
    }

    @Test func prefetchesAsManyBatchesAsTheRingHasAndNoMore() throws {
        let dataset = NumberedDataset(count: 100)
        let loader = DataLoader.training(
            dataset: dataset, sampler: try Sampler(sampleCount: 100, batchSize: 10, seed: 1),
            shards: [Shard(offset: 0, rows: 10)], steps: 0..<10, threadCount: 2, depth: 3)
        func settled() -> Int {
            var last = -1
            while dataset.readCount != last {
                last = dataset.readCount
                usleep(100_000)
            }
            return last
        }
        // Nothing is read before the first call, which gives nothing back; the second gives back the first batch.
        #expect(settled() == 0)
        _ = try loader.next()
        #expect(settled() == 30)
        _ = try loader.next()
        #expect(settled() == 40)
    }

    /// Notes the batches that it is told of.
    private final class BatchNumbers: LoaderObserver {
        let numbers = Mutex<[Int]>([])
        func filled(batch number: Int, thread: Int, from start: Int, to end: Int) {
            numbers.withLock { $0.append(number) }
        }
    }

    @Test func anObserverHearsOfEveryBatch() throws {
        let loader = DataLoader.training(
            dataset: NumberedDataset(count: 40), sampler: try Sampler(sampleCount: 40, batchSize: 10, seed: 1),
            shards: [Shard(offset: 0, rows: 10)], steps: 0..<4, threadCount: 2)
        // Threads that had begun would have read all by now.
        usleep(50_000)
        let observer = BatchNumbers()
        loader.observe(with: observer)
        while try loader.next() != nil {}
        #expect(observer.numbers.withLock { $0.sorted() } == [0, 1, 2, 3])
    }

    @Test func theBuffersOfABatchStayAsTheyAreUntilTheNextCall() throws {
        let sampler = try Sampler(sampleCount: 400, batchSize: 10, seed: 1)
        let loader = DataLoader.training(
            dataset: NumberedDataset(count: 400), sampler: sampler, shards: [Shard(offset: 0, rows: 10)], steps: 0..<40,
            threadCount: 2, depth: 2)
        while let batch = try loader.next() {
            let before = batch.images.array()
            usleep(2_000)
            #expect(batch.images.array() == before)
        }
    }

    @Test func theSameBuffersComeRoundAndLieOn64Bytes() throws {
        let loader = DataLoader.training(
            dataset: NumberedDataset(count: 400), sampler: try Sampler(sampleCount: 400, batchSize: 10, seed: 1),
            shards: [Shard(offset: 0, rows: 10)], steps: 0..<40, depth: 4)
        var addresses: [Int] = []
        while let batch = try loader.next() { addresses.append(Int(bitPattern: batch.images.base)) }
        #expect(addresses.count == 40 && Set(addresses).count == 4)
        #expect(addresses.allSatisfy { $0 % 64 == 0 })
    }

    @Test(arguments: [1, 3]) func aReadingErrorSurfacesAtItsBatchAndStays(threads: Int) throws {
        let dataset = NumberedDataset(count: 100, failingAt: 57)
        let loader = DataLoader.training(
            dataset: dataset, sampler: try Sampler(sampleCount: 100, batchSize: 10, seed: 1, shuffles: false),
            shards: [Shard(offset: 0, rows: 10)], steps: 0..<10, threadCount: threads, depth: 4)
        for batch in 0..<5 { #expect(try loader.next()?.item.batch == batch) }
        for _ in 0..<2 {
            #expect(throws: NumberedDataset.BadSample(index: 57)) { try loader.next() }
        }
    }

    @Test func stoppingEndsAConsumerThatWaits() throws {
        // Each sample takes 20 ms, a batch 2 s: the consumer waits when the stop comes.
        let loader = DataLoader.training(
            dataset: NumberedDataset(count: 100, secondsPerRead: 0.02),
            sampler: try Sampler(sampleCount: 100, batchSize: 100, seed: 1), shards: [Shard(offset: 0, rows: 100)],
            steps: 0..<3)
        let stopper = startThread(named: "stopper") {
            usleep(100_000)
            loader.stop()
        }
        let start = ContinuousClock.now
        #expect(try loader.next() == nil)
        pthread_join(stopper, nil)
        #expect(ContinuousClock.now - start < .seconds(1))
        #expect(try loader.next() == nil)
        loader.stop()
    }

    @Test func aLoaderThatIsStoppedFirstReadsNothing() throws {
        let dataset = NumberedDataset(count: 10)
        let loader = DataLoader.training(
            dataset: dataset, sampler: try Sampler(sampleCount: 10, batchSize: 5, seed: 1),
            shards: [Shard(offset: 0, rows: 5)], steps: 0..<2)
        // Threads that had begun would have read by now.
        usleep(20_000)
        loader.stop()
        #expect(try loader.next() == nil)
        #expect(dataset.readCount == 0 && loader.waitedSeconds == 0)
    }

    @Test(arguments: [0, 1, 5]) func aLoaderCanBeDroppedAtAnyTime(taken: Int) throws {
        // Slow enough that threads, where there are any yet, are in the middle of a sample when the loader goes.
        let dataset = NumberedDataset(count: 1000, secondsPerRead: 0.005)
        do {
            let loader = DataLoader.training(
                dataset: dataset, sampler: try Sampler(sampleCount: 1000, batchSize: 10, seed: 1),
                shards: [Shard(offset: 0, rows: 10)], steps: 0..<1_000_000, threadCount: 3)
            for _ in 0..<taken { _ = try loader.next() }
        }
        // The threads have ended with the loader: nobody reads any more.
        let reads = dataset.readCount
        usleep(20_000)
        #expect(dataset.readCount == reads)
    }

    @Test func aLoaderWithoutWorkEndsAtOnce() throws {
        let loader = DataLoader(
            dataset: NumberedDataset(count: 5), sampler: .evaluation(sampleCount: 5), work: LoaderWork([]))
        #expect(try loader.next() == nil)
        #expect(loader.waitedSeconds == 0)
    }

    @Test func theTimeThatTheConsumerWaitsIsMeasured() throws {
        func waited(secondsPerRead: Double, pause: UInt32) throws -> Double {
            let loader = DataLoader.training(
                dataset: NumberedDataset(count: 100, secondsPerRead: secondsPerRead),
                sampler: try Sampler(sampleCount: 100, batchSize: 10, seed: 1), shards: [Shard(offset: 0, rows: 10)],
                steps: 0..<5)
            while try loader.next() != nil { usleep(pause) }
            return loader.waitedSeconds
        }
        // A slow loader: 50 samples of 4 ms are waited for. A fast one: only the first batch can be.
        #expect(try waited(secondsPerRead: 0.004, pause: 0) > 0.19)
        let prompt = try waited(secondsPerRead: 0, pause: 50_000)
        #expect(prompt < 0.1)
    }
}

@Suite struct NormaliserTests {
    @Test(arguments: [1, 3, 4]) func agreesWithTheFormulaForEveryByteAndChannel(channels: Int) {
        let normalisation = Normalisation(
            mean: (0..<channels).map { 0.1 + 0.2 * Float($0) },
            standardDeviation: (0..<channels).map { 0.3 + 0.15 * Float($0) })
        let count = 256 * channels
        let bytes = AlignedMemory(byteCount: count), floats = AlignedMemory(byteCount: 4 * count)
        let values = withExtendedLifetime((bytes, floats)) {
            for index in 0..<count { bytes.slice(of: UInt8.self)[index] = UInt8((index * 37 + index / 256) % 256) }
            Normaliser(normalisation).apply(bytes.slice()[0..<count], into: floats.slice()[0..<count])
            return floats.slice(of: Float.self)[0..<count].array()
        }
        for index in 0..<count {
            let channel = index % channels
            let byte = Double((index * 37 + index / 256) % 256)
            let mean = Double(normalisation.mean[channel]), deviation = Double(normalisation.standardDeviation[channel])
            let exact = (byte / 255 - mean) / deviation
            #expect(abs(Double(values[index]) - exact) < 1e-6, "value \(index)")
        }
    }
}
