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
        return try apply(
            transforms, seed: seed, epoch: epoch, identity: identity ?? index, name: dataset.sampleName(index))
    }

    /// Decodes the file `path` and applies `transforms`; the result is valid until the next call.
    mutating func load(
        path: String, by decoder: ImageDecoder, channels: Int, transforms: [any Transform]
    ) throws(DataError) -> PixelBuffer {
        try decoder.decode(path: path, channels: channels, into: sample)
        return try apply(transforms, seed: 0, epoch: 0, identity: 0, name: path)
    }

    /// Random numbers go by the place among the transforms that vary: one that only brings images to a size, and is left
    /// out where they have it, must not move them.
    private mutating func apply(
        _ transforms: [any Transform], seed: UInt64, epoch: Int, identity: Int, name: @autoclosure () -> String
    ) throws(DataError) -> PixelBuffer {
        var varying = 0
        for transform in transforms {
            if let resize = transform as? Resize, !resize.isReasonable(for: sample) {
                throw .brokenImage(
                    path: name(),
                    reason: "resized with its proportions (\(sample.width)×\(sample.height)) it would have more than "
                        + "\(ImageHeader.largestPixelCount) pixels")
            }
            let random = SampleRandom(seed: seed, epoch: epoch, sample: identity, transform: varying)
            transform.apply(sample, into: spare, random: random)
            swap(&sample, &spare)
            if !transform.appliesInEvaluation { varying += 1 }
        }
        return sample
    }

    /// Hands out the sample that was loaded last, against another buffer to go on with.
    mutating func exchange(_ other: inout PixelBuffer) { swap(&sample, &other) }
}
