import DTrainTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// From a pixel of the result to the place in the image that it is taken from: x' = a x + b y + c, y' = d x + e y + f.
struct AffineMap {
    var a = 1.0, b = 0.0, c = 0.0
    var d = 0.0, e = 1.0, f = 0.0

    /// The rotation by `degrees` against the clock around the middle of an image of that size.
    static func rotation(degrees: Double, height: Int, width: Int) -> AffineMap {
        let angle = -degrees * (.pi / 180)
        // Fifteen decimals, as Pillow: so that cos 90° is 0.
        let cosine = (cos(angle) * 1e15).rounded() / 1e15, sine = (sin(angle) * 1e15).rounded() / 1e15
        let (x, y) = (Double(width) / 2, Double(height) / 2)
        return AffineMap(
            a: cosine, b: sine, c: cosine * -x + sine * -y + 0 + x, d: -sine, e: cosine,
            f: -sine * -x + cosine * -y + 0 + y)
    }
}

/// Takes each pixel of the result from the nearest pixel of `image`, black outside it: Pillow's
/// `Image.transform(size, AFFINE, …, NEAREST)`, with its arithmetic of 16 fractional bits.
func applyAffine(_ map: AffineMap, to image: PixelBuffer, into result: PixelBuffer) {
    let (height, width, channels) = (image.height, image.width, image.channels)
    result.resize(height: height, width: width, channels: channels)
    func fixed(_ value: Double) -> Int { Int((value * 65536 + 0.5).rounded(.down)) }
    let (a, b, d, e) = (fixed(map.a), fixed(map.b), fixed(map.d), fixed(map.e))
    // The middle of the first pixel.
    var lineX = fixed(map.c + map.a * 0.5 + map.b * 0.5), lineY = fixed(map.f + map.d * 0.5 + map.e * 0.5)
    let source = image.bytes.base
    var target = result.bytes.base
    for _ in 0..<height {
        var (x, y) = (lineX, lineY)
        for _ in 0..<width {
            let (column, row) = (x >> 16, y >> 16)
            if column >= 0, column < width, row >= 0, row < height {
                let from = source + (row * width + column) * channels
                for channel in 0..<channels { target[channel] = from[channel] }
            } else {
                for channel in 0..<channels { target[channel] = 0 }
            }
            target += channels
            x += a
            y += d
        }
        lineX += b
        lineY += e
    }
}

/// Rotates an image by `degrees` against the clock around its middle, in its own size: nearest pixels, black corners.
///
/// Byte for byte torchvision's `rotate`: right angles move whole pixels where the size allows it.
package func rotate(_ image: PixelBuffer, degrees: Double, into result: PixelBuffer) {
    var turn = degrees.truncatingRemainder(dividingBy: 360)
    if turn < 0 { turn += 360 }
    let (height, width) = (Double(image.height), Double(image.width))
    switch turn {
    case 0: result.copy(image)
    case 180: applyAffine(AffineMap(a: -1, c: width, e: -1, f: height), to: image, into: result)
    case 90 where height == width:
        applyAffine(AffineMap(a: 0, b: -1, c: width, d: 1, e: 0, f: 0), to: image, into: result)
    case 270 where height == width:
        applyAffine(AffineMap(a: 0, b: 1, c: 0, d: -1, e: 0, f: height), to: image, into: result)
    default:
        applyAffine(
            .rotation(degrees: turn, height: image.height, width: image.width), to: image, into: result)
    }
}

/// Rotates an image by an angle uniform in −`degrees` … `degrees` around its middle, as torchvision's `RandomRotation`:
/// the size stays, each pixel is the nearest one, corners are black.
public struct RandomRotation: Transform {
    public let appliesInEvaluation = false
    public let degrees: Float

    public init(degrees: Float) { self.degrees = degrees }

    public func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        rotate(image, degrees: Double(degrees * (2 * random.uniform(0) - 1)), into: result)
    }
}
