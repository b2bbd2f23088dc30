internal import CTurboJPEG

/// What the first bytes of an image file announce, checked before memory for its pixels is taken.
///
/// An image has at most 2²⁷ pixels, and not more than its file can hold: of PNG the rows in the file, as it stores
/// them, may have 1032 times the file's bytes (the bound of deflate: zlib, technical details); of JPEG at most 1024
/// pixels a byte are plausible, twice what one bit a block of 8 × 8 pixels, the least that Huffman codes need, gives
/// for grey.
struct ImageHeader {
    enum Format { case jpeg, png }
    enum Colours { case grey, rgb, cmyk }
    /// Why a file cannot be decoded.
    struct Problem: Error { let reason: String }

    let format: Format
    let height: Int
    let width: Int
    /// What the file holds: `.grey` with or without alpha, `.rgb` for palettes too.
    let colours: Colours

    static let largestPixelCount = 1 << 27
    private static let jpegPixelsPerByte = 1024
    private static let pngSignature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]

    init(_ bytes: UnsafeRawBufferPointer, jpeg: tjhandle) throws(Problem) {
        if bytes.starts(with: Self.pngSignature) {
            try self.init(png: bytes)
        } else if bytes.starts(with: [0xFF, 0xD8]) {
            try self.init(jpeg: bytes, jpeg)
        } else {
            throw Problem(reason: bytes.isEmpty ? "the file is empty" : "it is neither a JPEG nor a PNG file")
        }
        guard height > 0, width > 0 else { throw Problem(reason: "it announces an image of \(width)×\(height) pixels") }
        guard height <= Self.largestPixelCount / width else {
            throw Problem(
                reason: "it announces \(width)×\(height) pixels, more than \(Self.largestPixelCount), the most allowed")
        }
    }

    /// The IHDR chunk (PNG specification, 11.2.1): width, height, depth, colour type, compression, filter, interlace.
    private init(png bytes: UnsafeRawBufferPointer) throws(Problem) {
        func word(_ offset: Int) -> Int {
            Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        }
        guard bytes.count >= 33 else { throw Problem(reason: "the file ends in its header") }
        guard word(8) == 13, word(12) == 0x4948_4452 else {
            throw Problem(reason: "it does not begin with an IHDR chunk")
        }
        format = .png
        width = word(16)
        height = word(20)
        let depth = Int(bytes[24]), type = bytes[25]
        let samples = [0: 1, 2: 3, 3: 1, 4: 2, 6: 4][type] ?? 1
        colours = type == 0 || type == 4 ? .grey : .rgb
        guard width < 1 << 31, height < 1 << 31, [1, 2, 4, 8, 16].contains(depth) else {
            throw Problem(reason: "its IHDR chunk is damaged")
        }
        let rowByteCount = (width * depth * samples + 7) / 8
        guard height == 0 || rowByteCount <= bytes.count * 1032 / height else {
            throw Problem(reason: "it announces \(width)×\(height) pixels, more than \(bytes.count) bytes can hold")
        }
    }

    private init(jpeg bytes: UnsafeRawBufferPointer, _ handle: tjhandle) throws(Problem) {
        var width: Int32 = 0, height: Int32 = 0, subsampling: Int32 = 0, colourSpace: Int32 = 0
        let status = tjDecompressHeader3(
            handle, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt(bytes.count), &width, &height,
            &subsampling, &colourSpace)
        if status != 0 {
            let reason = String(cString: tjGetErrorStr2(handle))
            guard Self.isHarmless(reason), width > 0, height > 0 else { throw Problem(reason: reason) }
        }
        format = .jpeg
        self.width = Int(width)
        self.height = Int(height)
        switch UInt32(bitPattern: colourSpace) {
        case TJCS_GRAY.rawValue: colours = .grey
        case TJCS_CMYK.rawValue, TJCS_YCCK.rawValue: colours = .cmyk
        default: colours = .rgb
        }
        guard self.width * self.height <= bytes.count * Self.jpegPixelsPerByte else {
            throw Problem(reason: "it announces \(width)×\(height) pixels, more than \(bytes.count) bytes can hold")
        }
    }

    /// Whether a message of libjpeg is a warning that does not touch pixels.
    ///
    /// The text decides: TurboJPEG's error code calls an error that follows a warning a warning. Only the first warning
    /// of a file has a text, so one that is cut off after a harmless warning passes.
    static func isHarmless(_ message: String) -> Bool {
        message.contains("extraneous bytes before marker") || message.contains("bad ICC marker")
            || message.contains("Adobe color transform") || message.contains("JFIF revision")
    }
}
