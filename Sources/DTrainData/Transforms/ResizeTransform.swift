import DTrainTensor

/// Resizes an image with the antialiased bilinear filter of `resizeBilinear`.
public struct Resize: Transform {
    /// What the size becomes.
    public enum Size: Hashable, Sendable {
        /// The shorter side has this many pixels, the other as many as keep the proportions, rounded down.
        case shorterSide(Int)
        case exactly(height: Int, width: Int)
    }

    public let appliesInEvaluation = true
    public let size: Size

    public init(_ size: Size) { self.size = size }

    public var fixesSize: Bool { if case .exactly = size { true } else { false } }

    public func outputShape(of shape: Shape) -> Shape {
        let size = extents(height: shape[0], width: shape[1])
        return [size.height, size.width, shape[2]]
    }

    public func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        let size = extents(height: image.height, width: image.width)
        resizeBilinear(image, height: size.height, width: size.width, into: result)
    }

    private func extents(height: Int, width: Int) -> (height: Int, width: Int) {
        switch size {
        case .exactly(let height, let width): (height, width)
        case .shorterSide(let side):
            height <= width ? (side, side * width / max(height, 1)) : (side * height / max(width, 1), side)
        }
    }
}
