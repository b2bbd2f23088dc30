import CAllocationCounter
import DTrainData
import DTrainTensor
import Testing

/// Images of one size; notes how many allocations the thread that reads has made so far.
private final class WatchedDataset: ImageDataset, @unchecked Sendable {
    let name = "watched"
    let split = DatasetSplit.train
    let sampleShape: Shape = [60, 80, 3]
    let classNames = ["a", "b"]
    let count = 400
    let normalisation = Normalisation(mean: [0.5, 0.5, 0.5], standardDeviation: [1, 1, 1])
    let digest = "0123456789abcdef"
    private let image = pattern(60, 80, 3)
    /// By the order of reading; one thread reads.
    private(set) var allocations = [Int](repeating: 0, count: 4000)
    private(set) var readCount = 0

    func read(_ index: Int, into image: PixelBuffer) throws -> Int {
        image.resize(to: sampleShape)
        image.bytes.copy(from: self.image.bytes)
        allocations[readCount] = allocation_count()
        readCount += 1
        return index % 2
    }
}

/// A loader thread allocates nothing from one sample to the next, once its buffers have grown.
@Suite(.enabled(if: allocation_count() >= 0)) struct LoaderAllocationTests {
    @Test(arguments: [
        "preset", "preset,mixup,cutmix", "resize:40,random-crop:32:4,flip,rotation:20,cutout:8",
        "random-crop:48:4,color-jitter:0.4:0.4:0.4:0.1,trivial-augment,permute-pixels",
    ])
    func samplesAllocateNothing(augment: String) throws {
        let dataset = WatchedDataset()
        let pipeline = try TransformPipeline(
            Augmentation.parse(augment), family: .imagenet, sampleShape: dataset.sampleShape, imageSize: nil,
            normalisation: dataset.normalisation, seed: 1)
        let loader = DataLoader.training(
            dataset: dataset, sampler: try Sampler(sampleCount: 400, batchSize: 16, seed: 1),
            shards: [Shard(offset: 0, rows: 16)], steps: 0..<25, transforms: pipeline.training,
            mixing: pipeline.mixing)
        var batches = 0
        while try loader.next() != nil { batches += 1 }
        loader.stop()
        #expect(batches == 25 && dataset.readCount == 400)
        // The first batches are of growing buffers.
        #expect(dataset.allocations[399] == dataset.allocations[100])
    }
}
