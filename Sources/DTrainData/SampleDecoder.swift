import DTrainTensor

/// Fills batches for one loader thread: reads, transforms, normalises. Owns the scratch memory and the epoch's order.
final class SampleDecoder {
    private let dataset: any Dataset
    private let sampler: Sampler
    private let transforms: [any Transform]
    private let normaliser: Normaliser
    private let memory: [AlignedMemory]
    private var sample: MemorySlice<UInt8>
    private var spare: MemorySlice<UInt8>
    private var order: (epoch: Int, samples: SampleOrder)?

    init(dataset: any Dataset, sampler: Sampler, transforms: [any Transform], normaliser: Normaliser) {
        self.dataset = dataset
        self.sampler = sampler
        self.transforms = transforms
        self.normaliser = normaliser
        let byteCount = dataset.sampleShape.count
        memory = (0..<2).map { _ in AlignedMemory(byteCount: byteCount) }
        sample = memory[0].slice()[0..<byteCount]
        spare = memory[1].slice()[0..<byteCount]
    }

    /// Loads what `batch.item` says; false if `shouldContinue`, asked before each sample, ended it early.
    func fill(_ batch: Batch, while shouldContinue: () -> Bool) throws -> Bool {
        let item = batch.item
        if order?.epoch != item.epoch {
            order = nil
            order = (item.epoch, sampler.order(epoch: item.epoch))
        }
        let first = item.batch * sampler.batchSize + item.shard.offset
        let size = sample.count
        for row in 0..<item.shard.rows {
            guard shouldContinue() else { return false }
            let index = order!.samples[first + row]
            batch.allLabels[row] = Int32(try dataset.read(index, into: sample))
            for (position, transform) in transforms.enumerated() {
                let random = SampleRandom(seed: sampler.seed, epoch: item.epoch, sample: index, transform: position)
                transform.apply(sample, into: spare, random: random)
                swap(&sample, &spare)
            }
            normaliser.apply(sample, into: batch.allImages[row * size..<(row + 1) * size])
        }
        return true
    }
}
