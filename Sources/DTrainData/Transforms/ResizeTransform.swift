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

    /// False where the image would become larger than any that may be decoded.
    func isReasonable(for image: PixelBuffer) -> Bool {
        let size = extents(height: image.height, width: image.width)
        return size.height <= ImageHeader.largestPixelCount / max(size.width, 1)
    }

    fileprivate func extents(height: Int, width: Int) -> (height: Int, width: Int) {
        switch size {
        case .exactly(let height, let width): (height, width)
        case .shorterSide(let side):
            height <= width ? (side, side * width / max(height, 1)) : (side * height / max(width, 1), side)
        }
    }
}

/// `Resize` by the shorter side and `CenterCrop` in one: computes the middle alone. The same bytes, in less time, and with
/// memory that does not grow with the proportions of the image.
public struct ResizedCenter: Transform {
    public let appliesInEvaluation = true
    public let fixesSize = true
    public let shorterSide: Int
    public let side: Int

    /// The middle `side` × `side` pixels of an image whose shorter side has `shorterSide` pixels, at least as many.
    public init(shorterSide: Int, side: Int) {
        precondition(side <= shorterSide)
        self.shorterSide = shorterSide
        self.side = side
    }

    public func outputShape(of shape: Shape) -> Shape { [side, side, shape[2]] }

    public func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        let size = Resize(.shorterSide(shorterSide)).extents(height: image.height, width: image.width)
        resizeBilinear(
            image, from: PixelRectangle(top: 0, left: 0, height: image.height, width: image.width),
            height: size.height, width: size.width,
            window: PixelRectangle(
                top: CenterCrop.start(size.height, side), left: CenterCrop.start(size.width, side), height: side,
                width: side), into: result)
    }
}
