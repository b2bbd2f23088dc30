import DTrainTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A random part of the image, resized to `side` × `side` pixels (Szegedy et al. 2014, "Going deeper with convolutions",
/// section 6): what ImageNet models are trained with.
///
/// The part has `scale` of the image's area and a ratio of width to height that is uniform on a logarithmic scale in
/// `ratio`. As in torchvision, a part that does not fit is drawn again, ten times at most; then it is the largest part
/// in the middle whose ratio is within the limits. Resized as `resizeBilinear`.
public struct RandomResizedCrop: Transform {
    public let appliesInEvaluation = false
    public let fixesSize = true
    public let side: Int
    public let scale: ClosedRange<Double>
    public let ratio: ClosedRange<Double>

    public init(_ side: Int, scale: ClosedRange<Double> = 0.08...1, ratio: ClosedRange<Double> = 3.0 / 4...4.0 / 3) {
        precondition(scale.lowerBound > 0 && ratio.lowerBound > 0)
        self.side = side
        self.scale = scale
        self.ratio = ratio
    }

    public func outputShape(of shape: Shape) -> Shape { [side, side, shape[2]] }

    public func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        let part = rectangle(height: image.height, width: image.width, random: random)
        resizeBilinear(image, from: part, height: side, width: side, into: result)
    }

    /// The part of an image of that size which `random` chooses.
    package func rectangle(height: Int, width: Int, random: SampleRandom) -> PixelRectangle {
        for attempt in 0..<10 as Range<UInt16> {
            func between(_ range: ClosedRange<Double>, _ draw: UInt16) -> Double {
                range.lowerBound + (range.upperBound - range.lowerBound) * Double(random.uniform(4 * attempt + draw))
            }
            let area = Double(height * width) * between(scale, 0)
            let aspect = exp(between(log(ratio.lowerBound)...log(ratio.upperBound), 1))
            let partWidth = Int((area * aspect).squareRoot().rounded(.toNearestOrEven))
            let partHeight = Int((area / aspect).squareRoot().rounded(.toNearestOrEven))
            guard partWidth > 0, partWidth <= width, partHeight > 0, partHeight <= height else { continue }
            return PixelRectangle(
                top: random.below(height - partHeight + 1, 4 * attempt + 2),
                left: random.below(width - partWidth + 1, 4 * attempt + 3), height: partHeight, width: partWidth)
        }
        return central(height: height, width: width)
    }

    /// The largest part in the middle whose ratio is within the limits.
    package func central(height: Int, width: Int) -> PixelRectangle {
        let (partHeight, partWidth): (Int, Int)
        if Double(width) / Double(height) < ratio.lowerBound {
            (partHeight, partWidth) = (Int((Double(width) / ratio.lowerBound).rounded(.toNearestOrEven)), width)
        } else if Double(width) / Double(height) > ratio.upperBound {
            (partHeight, partWidth) = (height, Int((Double(height) * ratio.upperBound).rounded(.toNearestOrEven)))
        } else {
            (partHeight, partWidth) = (height, width)
        }
        return PixelRectangle(
            top: (height - partHeight) / 2, left: (width - partWidth) / 2, height: max(partHeight, 1),
            width: max(partWidth, 1))
    }
}
