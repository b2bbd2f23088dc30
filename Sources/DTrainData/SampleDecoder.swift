import DTrainTensor

/// Fills batches with images for one loader thread: reads, transforms, normalises. Owns the scratch memory and the epoch's
/// order.
final class SampleDecoder: BatchFiller {
    /// Where samples come from and what becomes of them: the same for all threads of a loader.
    struct Source: BatchSource {
        let dataset: any ImageDataset
        let sampler: Sampler
        /// Those that apply.
        let transforms: [any Transform]
        let normaliser: Normaliser
        /// What the model sees.
        let sampleShape: Shape
        /// Only in training.
        let mixing: Mixing?
        let forEvaluation: Bool
        let brokenSamples: BrokenSamples?

        func batch(capacity: Int) -> Batch {
            Batch(capacity: capacity, sampleShape: sampleShape, mixes: mixing != nil)
        }
        func filler() -> any BatchFiller { SampleDecoder(self) }
    }

    private let source: Source
    private var scratch = SampleScratch()
    /// The samples of the group of positions that is being mixed.
    private var members: [(image: PixelBuffer, label: Int)] = []
    private var order: EpochOrder

    init(_ source: Source) {
        self.source = source
        order = EpochOrder(source.sampler)
    }

    /// Loads what `batch.item` says; false if `shouldContinue`, asked before each sample, ended it early.
    func fill(_ batch: Batch, while shouldContinue: () -> Bool) throws -> Bool {
        if let mixing = source.mixing { return try fill(batch, mixing, while: shouldContinue) }
        let item = batch.item
        let samples = order.samples(of: item.epoch)
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

    /// The same with mixing. Each group of positions that the shard touches is gone through once: what is needed of it is
    /// loaded, mostly the shard's own samples, then mixed.
    private func fill(_ batch: Batch, _ mixing: Mixing, while shouldContinue: () -> Bool) throws -> Bool {
        let item = batch.item
        let samples = order.samples(of: item.epoch)
        let firstSample = item.batch * source.sampler.batchSize
        let step = mixing.plan(seed: source.sampler.seed, step: item.step, batchSize: source.sampler.batchSize)
        batch.rows = item.shard.rows
        var position = item.shard.offset
        while position < item.shard.range.upperBound {
            let group = step.group(of: position)
            let own = position..<min(group.upperBound, item.shard.range.upperBound)
            while members.count < group.count { members.append((PixelBuffer(), 0)) }
            for member in group {
                guard own.contains(member) || own.contains(where: { step.partner(of: $0) == member }) else { continue }
                guard shouldContinue() else { return false }
                // Training replaces broken samples, so there is one.
                guard try load(samples[firstSample + member], epoch: item.epoch) != nil else { continue }
                scratch.exchange(&members[member - group.lowerBound].image)
                members[member - group.lowerBound].label = scratch.label
            }
            for member in own {
                mix(
                    members[member - group.lowerBound], members[step.partner(of: member) - group.lowerBound],
                    as: step.recipe(of: member, height: batch.sampleShape[0], width: batch.sampleShape[1]),
                    into: batch, row: member - item.shard.offset)
            }
            position = own.upperBound
        }
        return true
    }

    private func mix(
        _ own: (image: PixelBuffer, label: Int), _ partner: (image: PixelBuffer, label: Int),
        as recipe: MixingStep.Recipe, into batch: Batch, row: Int
    ) {
        guard let mixing = batch.mixing else { preconditionFailure("the batch has no room for mixing") }
        let size = own.image.byteCount
        let images = batch.allImages[row * size..<(row + 1) * size]
        batch.allLabels[row] = Int32(own.label)
        mixing.partnerLabels[row] = Int32(partner.label)
        source.normaliser.apply(own.image.bytes, into: images)
        switch recipe {
        case .blend(let weight):
            mixing.weights[row] = weight
            source.normaliser.blend(partner.image.bytes, weight: 1 - weight, into: images)
        case .paste(let part):
            let pixelCount = own.image.height * own.image.width
            mixing.weights[row] = 1 - Float(part.height * part.width) / Float(pixelCount)
            let channels = own.image.channels
            for line in part.top..<part.top + part.height {
                let first = (line * own.image.width + part.left) * channels
                let run = first..<first + part.width * channels
                source.normaliser.apply(partner.image.bytes[run], into: images[run])
            }
        }
    }

    /// Sample `index`, transformed; nil for a broken one that an evaluation leaves out.
    private func load(_ index: Int, epoch: Int) throws -> PixelBuffer? {
        let sample = try scratch.load(
            index, of: source.dataset, transforms: source.transforms, seed: source.sampler.seed, epoch: epoch,
            brokenSamples: source.brokenSamples, replacing: !source.forEvaluation)
        if let sample, !sample.hasShape(source.sampleShape) {
            throw DataError.wrongSampleSize(
                sample: source.dataset.sampleName(index), expected: source.sampleShape, actual: sample.shape)
        }
        return sample
    }
}
