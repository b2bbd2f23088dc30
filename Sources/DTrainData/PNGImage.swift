internal import CPNG
import DTrainTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// An image of 8-bit grey or RGB pixels that can be drawn on and written as a PNG file.
public struct PNGImage: Sendable {
    public let width: Int
    public let height: Int
    /// 1 (grey) or 3 (red, green, blue).
    public let channels: Int
    /// Row by row from the top left, `channels` bytes a pixel.
    public private(set) var pixels: [UInt8]

    /// An image of one colour: the same value in all channels.
    ///
    /// Throws `PNGError.invalidSize` for an image without pixels, of more than 2³⁰ bytes, or not grey or RGB.
    public init(width: Int, height: Int, channels: Int, value: UInt8 = 255) throws(PNGError) {
        guard width > 0, height > 0, channels == 1 || channels == 3, width < 1 << 24, height < 1 << 24,
            width * height * channels <= 1 << 30
        else { throw .invalidSize(width: width, height: height, channels: channels) }
        self.width = width
        self.height = height
        self.channels = channels
        pixels = [UInt8](repeating: value, count: width * height * channels)
    }

    /// Writes the image to `path`, replacing what is there.
    ///
    /// Throws `PNGError.cannotWrite` with the reason of the operating system or of libpng; no part of a file remains.
    public func write(to path: String) throws(PNGError) {
        guard let file = fopen(path, "wbe") else { throw .cannotWrite(path: path, reason: errorText()) }
        var image = png_image()
        image.version = UInt32(PNG_IMAGE_VERSION)
        image.width = UInt32(width)
        image.height = UInt32(height)
        image.format = channels == 1 ? UInt32(PNG_FORMAT_GRAY) : UInt32(PNG_FORMAT_RGB)
        // The simplified interface reports errors by its result; nothing jumps through Swift's frames.
        errno = 0
        let isWritten = pixels.withUnsafeBytes { bytes in
            png_image_write_to_stdio(&image, file, 0, bytes.baseAddress, 0, nil) != 0
        }
        let isFlushed = fflush(file) == 0
        guard isWritten, isFlushed else {
            let message = withUnsafeBytes(of: image.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            let reason = errno == 0 ? message : errorText()
            // Half a file is of no use; a device stays where it is.
            var status = stat()
            if fstat(fileno(file), &status) == 0, status.st_mode & S_IFMT == S_IFREG { unlink(path) }
            fclose(file)
            throw .cannotWrite(path: path, reason: reason)
        }
        guard fclose(file) == 0 else { throw .cannotWrite(path: path, reason: errorText()) }
    }

    /// Fills a rectangle with one value in all channels; what lies outside the image is left out.
    mutating func fill(x: Int, y: Int, width: Int, height: Int, value: UInt8) {
        for row in max(y, 0)..<max(0, y, min(y + height, self.height)) {
            for column in max(x, 0)..<max(0, x, min(x + width, self.width)) { set(x: column, y: row, value) }
        }
    }

    /// Draws `text` with its top left corner at `x`, `y`, each pixel of the font `scale` × `scale` pixels.
    mutating func draw(_ text: String, x: Int, y: Int, scale: Int, value: UInt8 = 0) {
        BitmapFont.forEachPixel(of: text) {
            fill(x: x + $0 * scale, y: y + $1 * scale, width: scale, height: scale, value: value)
        }
    }

    /// Draws a sample of `shape` height × width × `channels` with its top left corner at `x`, `y`, each of its pixels
    /// `scale` × `scale` pixels.
    mutating func draw(_ sample: MemorySlice<UInt8>, shape: Shape, x: Int, y: Int, scale: Int) {
        precondition(shape[2] == channels && sample.count == shape.count)
        for row in 0..<shape[0] * scale {
            for column in 0..<shape[1] * scale {
                let source = (row / scale * shape[1] + column / scale) * channels
                let target = ((y + row) * width + x + column) * channels
                for channel in 0..<channels { pixels[target + channel] = sample[source + channel] }
            }
        }
    }

    private mutating func set(x: Int, y: Int, _ value: UInt8) {
        for channel in 0..<channels { pixels[(y * width + x) * channels + channel] = value }
    }
}

/// A PNG file that cannot be made.
public enum PNGError: Error, Hashable, Sendable, CustomStringConvertible {
    case invalidSize(width: Int, height: Int, channels: Int)
    case cannotWrite(path: String, reason: String)

    public var description: String {
        switch self {
        case .invalidSize(let width, let height, let channels):
            "cannot make an image of \(width)×\(height) pixels with \(channels) channels: it needs at least one pixel, "
                + "1 or 3 channels, and at most 2³⁰ bytes"
        case .cannotWrite(let path, let reason):
            "cannot write the image \(path): \(reason)"
        }
    }
}
