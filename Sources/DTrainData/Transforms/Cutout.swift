import DTrainTensor

/// Covers a square of `side` pixels around a random pixel (DeVries & Taylor 2017, "Improved regularization of
/// convolutional neural networks with cutout"); the part of it beyond the border is lost, as in the paper.
///
/// The paper covers with 0 after normalisation, which is the mean of the data: `fill` is that mean as bytes, one a
/// channel. Rounding to a byte leaves at most half a grey level of it.
public struct Cutout: Transform {
    public let appliesInEvaluation = false
    public let side: Int
    public let fill: [UInt8]

    public init(side: Int, fill: [UInt8]) {
        self.side = side
        self.fill = fill
    }

    /// Covers with what `normalisation` makes 0.
    public init(side: Int, mean normalisation: Normalisation) {
        self.init(side: side, fill: normalisation.mean.map { UInt8(max(0, min(255, ($0 * 255).rounded()))) })
    }

    public func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        let (height, width, channels) = (image.height, image.width, image.channels)
        precondition(fill.count == channels, "one fill value a channel")
        result.copy(image)
        let rows = covered(random.below(height, 0), of: height)
        let columns = covered(random.below(width, 1), of: width)
        for row in rows {
            var pixel = result.bytes.base + (row * width + columns.lowerBound) * channels
            for _ in columns {
                for channel in 0..<channels { pixel[channel] = fill[channel] }
                pixel += channels
            }
        }
    }

    /// The covered pixels of one axis; an odd side has its extra pixel behind the middle.
    private func covered(_ middle: Int, of extent: Int) -> Range<Int> {
        max(0, middle - side / 2)..<min(extent, middle - side / 2 + side)
    }
}
