import DTrainTensor

/// Fills batches for one loader thread: reads, transforms, normalises. Owns the scratch memory and the epoch's order.
final class SampleDecoder {
    private let dataset: any Dataset
    private let sampler: Sampler
    private let transforms: [any Transform]
    private let normaliser: Normaliser
    private var scratch = SampleScratch()
    private var order: (epoch: Int, samples: SampleOrder)?

    init(dataset: any Dataset, sampler: Sampler, transforms: [any Transform], normaliser: Normaliser) {
        self.dataset = dataset
        self.sampler = sampler
        self.transforms = transforms
        self.normaliser = normaliser
    }

    /// Loads what `batch.item` says; false if `shouldContinue`, asked before each sample, ended it early.
    func fill(_ batch: Batch, while shouldContinue: () -> Bool) throws -> Bool {
        let item = batch.item
        let samples = order(of: item.epoch)
        let first = item.batch * sampler.batchSize + item.shard.offset
        let size = dataset.sampleShape.count
        for row in 0..<item.shard.rows {
            guard shouldContinue() else { return false }
            let sample = try scratch.load(
                samples[first + row], of: dataset, transforms: transforms, seed: sampler.seed, epoch: item.epoch)
            batch.allLabels[row] = Int32(scratch.label)
            normaliser.apply(sample.bytes, into: batch.allImages[row * size..<(row + 1) * size])
        }
        return true
    }

    /// The order of `epoch`, drawn once an epoch.
    private func order(of epoch: Int) -> SampleOrder {
        if let order, order.epoch == epoch { return order.samples }
        order = nil
        let samples = sampler.order(epoch: epoch)
        order = (epoch, samples)
        return samples
    }
}
