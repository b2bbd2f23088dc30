import DTrainTensor

/// A change to a sample between decoding and normalisation.
///
/// Its randomness comes from `random` alone, so that it depends on (seed, epoch, sample) and on nothing else.
public protocol Transform: Sendable {
    /// True for what belongs to the data (a fixed permutation), false for what only makes training harder (a crop).
    var appliesInEvaluation: Bool { get }

    /// The shape (height, width, channels) of what `apply` makes of an image of `shape`; it never depends on chance.
    func outputShape(of shape: Shape) -> Shape

    /// True where the height and width of the result are the same for every image.
    var fixesSize: Bool { get }

    /// Writes the changed `image` into `result`, another buffer, which it resizes.
    func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom)
}

extension Transform {
    public func outputShape(of shape: Shape) -> Shape { shape }
    public var fixesSize: Bool { false }
}

/// The random numbers of one transform for one sample in one epoch: 65,536 draws, each addressed directly.
public struct SampleRandom: Sendable {
    private let random: CounterRandom
    private let base: UInt64

    /// `transform` is the position in the list of transforms: it keeps their draws apart.
    public init(seed: UInt64, epoch: Int, sample: Int, transform: Int = 0) {
        random = CounterRandom(seed: seed, purpose: .augmentation, stream: UInt32(truncatingIfNeeded: epoch))
        base = (UInt64(sample) << 8 | UInt64(transform)) << 16
    }

    /// A number uniform in [0, 1).
    public func uniform(_ draw: UInt16) -> Float { random.uniform(base | UInt64(draw)) }
    /// A whole number uniform in 0 ..< `bound`.
    public func below(_ bound: Int, _ draw: UInt16) -> Int { random.below(bound, base | UInt64(draw)) }
}

/// One permutation of the pixels for all samples of both splits: what remains of a data set without neighbourhood.
///
/// All channels of a pixel move together. It depends on `seed` and on the number of pixels.
public struct PixelPermutation: Transform {
    public let appliesInEvaluation = true
    private let source: [Int32]
    private let channels: Int

    /// `sampleShape` is height, width, channels.
    public init(seed: UInt64, sampleShape: Shape) {
        channels = sampleShape[2]
        source = permutation(
            of: sampleShape[0] * sampleShape[1], by: CounterRandom(seed: seed, purpose: .permutation))
    }

    public func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        precondition(image.shape.count == source.count * channels)
        result.resize(to: image.shape)
        let (from, to) = (image.bytes.base, result.bytes.base)
        source.withUnsafeBufferPointer { source in
            for pixel in 0..<source.count {
                let first = Int(source[pixel]) * channels
                for channel in 0..<channels { to[pixel * channels + channel] = from[first + channel] }
            }
        }
    }
}
