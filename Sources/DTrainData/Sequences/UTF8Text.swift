/// Text as the bytes of a file, decoded with the place of what is wrong.
enum UTF8Text {
    /// Calls `body` with each character of `bytes`, in order; a byte-order mark at the beginning is none.
    ///
    /// Throws `DataError.invalidUTF8` at the first byte that begins no character; `path`, the offset and the number of the
    /// line of `bytes` are relative to what is read: a whole file.
    static func forEach(
        _ bytes: UnsafeRawBufferPointer, path: String, _ body: (Unicode.Scalar) -> Void
    ) throws(DataError) {
        var parser = Unicode.UTF8.ForwardParser()
        var iterator = bytes.makeIterator()
        var offset = 0
        while true {
            switch parser.parseScalar(from: &iterator) {
            case .valid(let encoded):
                let character = Unicode.UTF8.decode(encoded)
                if offset > 0 || character != "\u{FEFF}" { body(character) }
                offset += encoded.count
            case .error:
                throw .invalidUTF8(
                    path: path, byte: offset, line: line(of: offset, bytes), value: bytes[offset])
            case .emptyInput: return
            }
        }
    }

    /// Which line of `bytes` holds the byte at `offset`, counted from 1. Lines end with a line feed, a carriage return, or
    /// both.
    private static func line(of offset: Int, _ bytes: UnsafeRawBufferPointer) -> Int {
        let (lineFeed, carriageReturn) = (UInt8(ascii: "\n"), UInt8(ascii: "\r"))
        return 1
            + (0..<offset).count {
                bytes[$0] == lineFeed || bytes[$0] == carriageReturn && bytes[$0 + 1] != lineFeed
            }
    }
}
