internal import CImageShim
internal import CTurboJPEG
import DTrainTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Decodes JPEG files (through libturbojpeg) and PNG files (through libpng) into RGB or grey pixels.
///
/// The first bytes decide which of the two a file is, not its name. Pixels are those of Pillow's `convert("RGB")` and
/// `convert("L")`: palettes and low depths are expanded, alpha is dropped, CMYK (and YCCK) JPEG files are taken as
/// Adobe writes them, inverted; of 16 bits a channel the high byte is kept, for grey too (where Pillow cuts at 255). An
/// EXIF orientation is not looked at, as in torchvision's loader. What libjpeg could only guess at (a file that ends
/// too early, damaged codes) makes a JPEG file broken; what does not touch pixels, such as bytes between its parts,
/// does not.
///
/// A decoder keeps its memory for the next image; one thread uses it at a time. Before memory for pixels is taken, the
/// size that a file announces must be plausible (`ImageHeader`).
public final class ImageDecoder {
    private var jpeg: tjhandle
    /// The file's bytes.
    private var file = AlignedMemory(byteCount: 1 << 16)
    /// What is converted afterwards: CMYK, or RGB on the way to grey.
    private let wide = PixelBuffer()
    private var message = [CChar](repeating: 0, count: Int(DT_IMAGE_MESSAGE_BYTES))

    /// A file above this size, in bytes, is no image that anybody trains on.
    private static let largestFile = 1 << 30

    public init() { jpeg = Self.makeDecompressor() }

    private static func makeDecompressor() -> tjhandle {
        guard let handle = tjInitDecompress() else { fatalError("cannot allocate a JPEG decompressor") }
        return handle
    }

    deinit { tjDestroy(jpeg) }

    /// Decodes the file `path` into `image`, which is resized to height × width × `channels` (1 or 3).
    ///
    /// Throws `DataError.unreadable` or `DataError.brokenImage`; `image` is then undefined.
    public func decode(path: String, channels: Int, into image: PixelBuffer) throws(DataError) {
        try decode(path: path.utf8CString.map { $0 }, channels: channels, into: image)
    }

    /// As above, for a path as the file system knows it: zero-terminated bytes that need not be UTF-8.
    func decode(path: [CChar], channels: Int, into image: PixelBuffer) throws(DataError) {
        try decode(try read(path), name: Self.text(path), channels: channels, into: image)
    }

    /// Decodes a file that is in memory; `name` is what errors call it.
    public func decode(
        _ bytes: UnsafeRawBufferPointer, name: String, channels: Int, into image: PixelBuffer
    ) throws(DataError) {
        precondition(channels == 1 || channels == 3, "an image is decoded to 1 or 3 channels, not \(channels)")
        let header = try header(of: bytes, name: name)
        let reason =
            switch header.format {
            case .jpeg: decodeJPEG(bytes, header, channels, into: image)
            case .png: decodePNG(bytes, header, channels, into: image)
            }
        if let reason { throw broken(name, reason) }
    }

    /// The error of a broken file. TurboJPEG 2.1 keeps what it has read of one and stumbles over it in the next file:
    /// the decompressor is replaced.
    private func broken(_ name: String, _ reason: String) -> DataError {
        tjDestroy(jpeg)
        jpeg = Self.makeDecompressor()
        return .brokenImage(path: name, reason: reason)
    }

    /// The size of the image in the file `path`, from its header alone.
    func size(path: [CChar]) throws(DataError) -> (height: Int, width: Int) {
        let header = try header(of: try read(path), name: Self.text(path))
        return (header.height, header.width)
    }

    private func header(of bytes: UnsafeRawBufferPointer, name: String) throws(DataError) -> ImageHeader {
        do {
            return try ImageHeader(bytes, jpeg: jpeg)
        } catch {
            throw broken(name, error.reason)
        }
    }

    // MARK: Formats

    /// Decodes; the result is what is wrong with the file, or nil.
    private func decodeJPEG(
        _ bytes: UnsafeRawBufferPointer, _ header: ImageHeader, _ channels: Int, into image: PixelBuffer
    ) -> String? {
        let pixelCount = header.height * header.width
        image.resize(height: header.height, width: header.width, channels: channels)
        let target: PixelBuffer
        let format: TJPF
        switch (header.colours, channels) {
        case (.cmyk, _):
            wide.resize(height: header.height, width: header.width, channels: 4)
            (target, format) = (wide, TJPF_CMYK)
        case (.grey, 1):
            (target, format) = (image, TJPF_GRAY)
        case (_, 1):
            wide.resize(height: header.height, width: header.width, channels: 3)
            (target, format) = (wide, TJPF_RGB)
        default:
            (target, format) = (image, TJPF_RGB)
        }
        let status = tjDecompress2(
            jpeg, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt(bytes.count), target.bytes.base,
            Int32(header.width), 0, Int32(header.height), format.rawValue, TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS)
        if status != 0 {
            let reason = String(cString: tjGetErrorStr2(jpeg))
            if !ImageHeader.isHarmless(reason) { return reason }
        }
        if header.colours == .cmyk {
            dt_inverted_cmyk_to_rgb(wide.bytes.base, channels == 3 ? image.bytes.base : wide.bytes.base, pixelCount)
        }
        if target !== image, channels == 1 { dt_rgb_to_grey(wide.bytes.base, image.bytes.base, pixelCount) }
        return nil
    }

    private func decodePNG(
        _ bytes: UnsafeRawBufferPointer, _ header: ImageHeader, _ channels: Int, into image: PixelBuffer
    ) -> String? {
        let decoded = header.colours == .grey ? channels : 3
        image.resize(height: header.height, width: header.width, channels: channels)
        if decoded != channels { wide.resize(height: header.height, width: header.width, channels: decoded) }
        let target = decoded == channels ? image : wide
        let status = dt_png_decode(
            bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count, header.width, header.height,
            Int32(decoded), target.bytes.base, &message)
        guard status == 0 else { return Self.text(message) }
        if decoded != channels { dt_rgb_to_grey(wide.bytes.base, image.bytes.base, header.height * header.width) }
        return nil
    }

    // MARK: Files

    /// The bytes of a file, valid until the next call.
    private func read(_ path: [CChar]) throws(DataError) -> UnsafeRawBufferPointer {
        func unreadable(_ reason: String) -> DataError { .unreadable(path: Self.text(path), reason: reason) }
        // A named pipe without a writer would block.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw unreadable(errorText()) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw unreadable(errorText()) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw unreadable("it is not a regular file") }
        let byteCount = Int(status.st_size)
        guard byteCount <= Self.largestFile else {
            throw unreadable("it has \(byteCount) bytes, too many for an image")
        }
        if byteCount > file.byteCount { file = AlignedMemory(byteCount: byteCount + byteCount / 4) }
        var filled = 0
        while filled < byteCount {
            let count = Glibc.read(descriptor, file.base + filled, byteCount - filled)
            if count == 0 { break }
            if count > 0 {
                filled += count
            } else if errno != EINTR {
                throw unreadable(errorText())
            }
        }
        return UnsafeRawBufferPointer(start: file.base, count: filled)
    }

    private static func text(_ path: [CChar]) -> String {
        String(decoding: path.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
