import DTrainTensor

/// Fills batches for one loader thread: reads, transforms, normalises. Owns the scratch memory and the epoch's order.
final class SampleDecoder {
    /// Where samples come from and what becomes of them: the same for all threads of a loader.
    struct Source {
        let dataset: any Dataset
        let sampler: Sampler
        /// Those that apply.
        let transforms: [any Transform]
        let normaliser: Normaliser
        /// What the model sees.
        let sampleShape: Shape
        let forEvaluation: Bool
        let brokenSamples: BrokenSamples?
    }

    private let source: Source
    private var scratch = SampleScratch()
    private var order: (epoch: Int, samples: SampleOrder)?

    init(_ source: Source) { self.source = source }

    /// Loads what `batch.item` says; false if `shouldContinue`, asked before each sample, ended it early.
    func fill(_ batch: Batch, while shouldContinue: () -> Bool) throws -> Bool {
        let item = batch.item
        let samples = order(of: item.epoch)
        let first = item.batch * source.sampler.batchSize + item.shard.offset
        let size = source.sampleShape.count
        var row = 0
        for position in 0..<item.shard.rows {
            guard shouldContinue() else { return false }
            guard let sample = try load(samples[first + position], epoch: item.epoch) else { continue }
            batch.allLabels[row] = Int32(scratch.label)
            source.normaliser.apply(sample.bytes, into: batch.allImages[row * size..<(row + 1) * size])
            row += 1
        }
        batch.rows = row
        return true
    }

    /// Sample `index`, transformed; nil for a broken one that an evaluation leaves out.
    private func load(_ index: Int, epoch: Int) throws -> PixelBuffer? {
        let sample = try scratch.load(
            index, of: source.dataset, transforms: source.transforms, seed: source.sampler.seed, epoch: epoch,
            brokenSamples: source.brokenSamples, replacing: !source.forEvaluation)
        if let sample, sample.shape != source.sampleShape {
            throw DataError.wrongSampleSize(
                sample: source.dataset.sampleName(index), expected: source.sampleShape, actual: sample.shape)
        }
        return sample
    }

    /// The order of `epoch`, drawn once an epoch.
    private func order(of epoch: Int) -> SampleOrder {
        if let order, order.epoch == epoch { return order.samples }
        order = nil
        let samples = source.sampler.order(epoch: epoch)
        order = (epoch, samples)
        return samples
    }
}
