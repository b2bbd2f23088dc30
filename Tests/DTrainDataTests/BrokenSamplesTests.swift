import DTrainData
import DTrainTensor
import Foundation
import Testing

@Suite struct BrokenSamplesTests {
    /// Twelve training images in three classes, of which four are broken, and four test images, one of them broken.
    private func folderWithBrokenFiles() throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        try writeImages(to: folder, classes: ["a", "b", "c"], counts: [4, 4, 4])
        for name in ["a/1", "a/2", "c/0", "c/3"] { try folder.write([0xFF, 0xD8, 0xFF], "train/\(name).png") }
        try folder.write([], "test/b/0.png")
        return folder
    }

    /// Class and number of each sample of a run's steps, read back from the colours.
    private func samples(_ batch: Batch, _ normalisation: Normalisation) -> [[Int]] {
        (0..<batch.rows).map { row in
            (0..<2).map { channel in
                let value = batch.images[row * batch.sampleShape.count + channel]
                let byte = (value * normalisation.standardDeviation[channel] + normalisation.mean[channel]) * 255
                return Int(byte.rounded()) / (channel == 0 ? 20 : 1)
            } + [Int(batch.labels[row])]
        }
    }

    private func train(ranks: Int, _ pair: DatasetPair, _ broken: BrokenSamples) throws -> [[[Int]]] {
        let sampler = try Sampler(sampleCount: 12, batchSize: 6, seed: 3)
        var steps = [[[Int]]](repeating: [], count: 6)
        for rank in 0..<ranks {
            let loader = DataLoader.training(
                dataset: pair.train, sampler: sampler, shards: try Shard.ofRank(rank, of: ranks, batchSize: 6),
                steps: 0..<6, brokenSamples: broken, threadCount: 2)
            while let batch = try loader.next() {
                #expect(batch.rows == batch.item.shard.rows)
                steps[batch.item.step] += samples(batch, pair.train.normalisation)
            }
        }
        return steps
    }

    @Test func theNextSampleStandsInForABrokenOneOnAnyNumberOfRanks() throws {
        let folder = try folderWithBrokenFiles()
        let pair = try DataSpecification.images(directory: folder.path).openImages()
        let sampler = try Sampler(sampleCount: 12, batchSize: 6, seed: 3)
        // By index in the folder: a/1 and a/2 become a/3, c/0 becomes c/1, c/3 (the last) becomes a/0.
        let standIns = [1: 3, 2: 3, 8: 9, 11: 0]
        let expected = (0..<6).map { step in
            let order = sampler.order(epoch: step / 2)
            return (0..<6).map { position in
                let index = order[step % 2 * 6 + position]
                let used = standIns[index] ?? index
                return [used / 4, used % 4, used / 4]
            }
        }
        for ranks in [1, 2, 3, 6] {
            let broken = BrokenSamples()
            #expect(try train(ranks: ranks, pair, broken) == expected)
            #expect(broken.all.map(\.index) == [1, 2, 8, 11] && broken.all.allSatisfy { $0.split == .train })
            guard case .brokenImage(let path, _) = broken.all[2].error else { throw broken.all[2].error }
            #expect(path == folder.path + "/train/c/0.png")
        }
    }

    @Test func anEvaluationCountsBrokenSamplesOut() throws {
        let folder = try folderWithBrokenFiles()
        let pair = try DataSpecification.images(directory: folder.path).openImages()
        for ranks in [1, 2, 3] {
            let broken = BrokenSamples()
            var labels: [Int32] = []
            for rank in 0..<ranks {
                let loader = DataLoader.evaluation(
                    dataset: pair.test, rank: rank, rankCount: ranks, rows: 1, brokenSamples: broken)
                while let batch = try loader.next() { labels += batch.labels.array() }
            }
            #expect(labels == [0, 2] && broken.all.map(\.index) == [1])
        }
        withExtendedLifetime(folder) {}
    }

    @Test func eachBrokenSampleIsToldOnce() throws {
        let folder = try folderWithBrokenFiles()
        let pair = try DataSpecification.images(directory: folder.path).openImages()
        let told = Told()
        _ = try train(ranks: 2, pair, BrokenSamples { told.add($0.error) })
        #expect(Set(told.all.map(\.description)).count == 4 && told.all.count == 4)
        withExtendedLifetime(folder) {}
    }

    @Test func withoutLeaveABrokenFileIsAnErrorThatNamesIt() throws {
        let folder = try folderWithBrokenFiles()
        let pair = try DataSpecification.images(directory: folder.path).openImages()
        let loader = DataLoader.evaluation(dataset: pair.train, rank: 0, rankCount: 1, rows: 12)
        let error = #expect(throws: DataError.self) { try loader.next() }
        guard case .brokenImage(folder.path + "/train/a/1.png", _) = try #require(error) else { throw error! }
    }

    @Test func whereAllIsBrokenNothingStandsIn() throws {
        let broken = BrokenSamples()
        let dataset = AllBroken()
        let loader = DataLoader.training(
            dataset: dataset, sampler: try Sampler(sampleCount: 300, batchSize: 10, seed: 1, shuffles: false),
            shards: [Shard(offset: 0, rows: 10)], steps: 0..<1, brokenSamples: broken)
        #expect(throws: DataError.brokenImage(path: "0", reason: "made to fail")) { try loader.next() }
        #expect(broken.all.count == BrokenSamples.longestRun)
    }

    private final class Told: @unchecked Sendable {
        private let lock = NSLock()
        private var errors: [DataError] = []
        func add(_ error: DataError) { lock.withLock { errors.append(error) } }
        var all: [DataError] { lock.withLock { errors } }
    }

    private struct AllBroken: ImageDataset {
        let name = "broken", split = DatasetSplit.train, sampleShape: Shape = [1, 1, 1], classNames = ["a"], count = 300
        let normalisation = Normalisation(mean: [0], standardDeviation: [1]), digest = ""
        func read(_ index: Int, into image: PixelBuffer) throws -> Int {
            throw DataError.brokenImage(path: "\(index)", reason: "made to fail")
        }
    }
}
