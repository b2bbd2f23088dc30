import DTrainTensor

/// The memory in which one sample is read and transformed.
struct SampleScratch {
    private var sample = PixelBuffer()
    private var spare = PixelBuffer()
    /// The label of the sample that was read last.
    private(set) var label = 0

    /// Reads sample `index` and applies `transforms`; the result is valid until the next call.
    ///
    /// - Parameter identity: the sample whose random numbers the transforms draw; `index` by default.
    mutating func load(
        _ index: Int, of dataset: any Dataset, transforms: [any Transform], seed: UInt64 = 0, epoch: Int = 0,
        identity: Int? = nil
    ) throws -> PixelBuffer {
        label = try dataset.read(index, into: sample)
        for position in 0..<transforms.count {
            let random = SampleRandom(seed: seed, epoch: epoch, sample: identity ?? index, transform: position)
            transforms[position].apply(sample, into: spare, random: random)
            swap(&sample, &spare)
        }
        return sample
    }

    /// Hands out the sample that was loaded last, against another buffer to go on with.
    mutating func exchange(_ other: inout PixelBuffer) { swap(&sample, &other) }
}
