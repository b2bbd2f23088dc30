import DTrainTensor

/// The `side` × `side` pixels in the middle, as torchvision's `CenterCrop` cuts them: half a pixel is rounded to the even
/// neighbour, and an image that is too small gets black borders, the larger half behind.
public struct CenterCrop: Transform {
    public let appliesInEvaluation = true
    public let fixesSize = true
    public let side: Int

    public init(_ side: Int) { self.side = side }

    public func outputShape(of shape: Shape) -> Shape { [side, side, shape[2]] }

    public func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        copyWindow(
            of: image, top: Self.start(image.height, side), left: Self.start(image.width, side), height: side,
            width: side,
            into: result)
    }

    /// Where the middle `side` of `extent` pixels begin.
    static func start(_ extent: Int, _ side: Int) -> Int {
        extent < side ? -((side - extent) / 2) : Int((Double(extent - side) / 2).rounded(.toNearestOrEven))
    }
}

/// `side` × `side` pixels at a random place of the image with `padding` black pixels around it: with 32 and 4, what
/// He et al. 2015 ("Deep residual learning for image recognition", section 4.2) train CIFAR-10 with.
///
/// An image that is too small even so is padded further on both sides, as torchvision's `pad_if_needed` does.
public struct RandomCrop: Transform {
    public let appliesInEvaluation = false
    public let fixesSize = true
    public let side: Int
    public let padding: Int

    public init(_ side: Int, padding: Int = 0) {
        self.side = side
        self.padding = padding
    }

    public func outputShape(of shape: Shape) -> Shape { [side, side, shape[2]] }

    public func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        copyWindow(
            of: image, top: start(image.height, random, draw: 0), left: start(image.width, random, draw: 1),
            height: side, width: side, into: result)
    }

    private func start(_ extent: Int, _ random: SampleRandom, draw: UInt16) -> Int {
        let room = extent + 2 * padding - side
        return random.below(abs(room) + 1, draw) - padding + min(room, 0)
    }
}

/// Mirrors an image left to right with the given probability.
public struct HorizontalFlip: Transform {
    public let appliesInEvaluation = false
    public let probability: Float

    public init(probability: Float = 0.5) { self.probability = probability }

    public func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        guard random.uniform(0) < probability else { return result.copy(image) }
        let (height, width, channels) = (image.height, image.width, image.channels)
        result.resize(height: height, width: width, channels: channels)
        let stride = width * channels
        for line in 0..<height {
            let source = image.bytes.base + line * stride, target = result.bytes.base + line * stride
            if channels == 3 {
                for x in 0..<width {
                    let from = source + 3 * x, to = target + 3 * (width - 1 - x)
                    to[0] = from[0]
                    to[1] = from[1]
                    to[2] = from[2]
                }
            } else {
                for x in 0..<width {
                    for channel in 0..<channels {
                        target[(width - 1 - x) * channels + channel] = source[x * channels + channel]
                    }
                }
            }
        }
    }
}

/// Copies the window whose first pixel is (`top`, `left`), which may lie outside; pixels outside the image are 0.
func copyWindow(of image: PixelBuffer, top: Int, left: Int, height: Int, width: Int, into result: PixelBuffer) {
    let channels = image.channels
    result.resize(height: height, width: width, channels: channels)
    let stride = width * channels
    // The columns of the result that lie inside the image.
    let first = min(max(-left, 0), width)
    let end = max(min(image.width - left, width), first)
    for line in 0..<height {
        let target = result.bytes.base + line * stride
        guard top + line >= 0, top + line < image.height, first < end else {
            target.update(repeating: 0, count: stride)
            continue
        }
        target.update(repeating: 0, count: first * channels)
        (target + first * channels).update(
            from: image.bytes.base + ((top + line) * image.width + left + first) * channels,
            count: (end - first) * channels)
        (target + end * channels).update(repeating: 0, count: (width - end) * channels)
    }
}
