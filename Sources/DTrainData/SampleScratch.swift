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
        _ index: Int, of dataset: any ImageDataset, transforms: [any Transform], seed: UInt64 = 0, epoch: Int = 0,
        identity: Int? = nil
    ) throws -> PixelBuffer {
        label = try dataset.read(index, into: sample)
        return apply(transforms, seed: seed, epoch: epoch, identity: identity ?? index)
    }

    /// Decodes the file `path` and applies `transforms`; the result is valid until the next call.
    mutating func load(
        path: String, by decoder: ImageDecoder, channels: Int, transforms: [any Transform]
    ) throws(DataError) -> PixelBuffer {
        try decoder.decode(path: path, channels: channels, into: sample)
        return apply(transforms, seed: 0, epoch: 0, identity: 0)
    }

    private mutating func apply(
        _ transforms: [any Transform], seed: UInt64, epoch: Int, identity: Int
    ) -> PixelBuffer {
        for position in 0..<transforms.count {
            let random = SampleRandom(seed: seed, epoch: epoch, sample: identity, transform: position)
            transforms[position].apply(sample, into: spare, random: random)
            swap(&sample, &spare)
        }
        return sample
    }

    /// Hands out the sample that was loaded last, against another buffer to go on with.
    mutating func exchange(_ other: inout PixelBuffer) { swap(&sample, &other) }
}
