import DTrainTensor

/// The memory in which one sample is read and transformed.
struct SampleScratch {
    private var sample = PixelBuffer()
    private var spare = PixelBuffer()
    /// The label of the sample that was read last.
    private(set) var label = 0

    /// Reads sample `index` and applies `transforms`; the result is valid until the next call.
    mutating func load(
        _ index: Int, of dataset: any Dataset, transforms: [any Transform], seed: UInt64 = 0, epoch: Int = 0
    ) throws -> PixelBuffer {
        sample.resize(to: dataset.sampleShape)
        label = try dataset.read(index, into: sample.bytes)
        for position in 0..<transforms.count {
            let random = SampleRandom(seed: seed, epoch: epoch, sample: index, transform: position)
            transforms[position].apply(sample, into: spare, random: random)
            swap(&sample, &spare)
        }
        return sample
    }
}
