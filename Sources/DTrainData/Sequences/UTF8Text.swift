/// Text as the bytes of a file, decoded with the place of what is wrong.
enum UTF8Text {
    /// Calls `body` with each character of `bytes`, in order, and the offset of its first byte.
    ///
    /// Throws `DataError.invalidUTF8` at the first byte that begins no character; `path`, the offset and the number of the
    /// line of `bytes` are relative to what is read: a whole file.
    static func forEach(
        _ bytes: UnsafeRawBufferPointer, path: String, _ body: (Unicode.Scalar, Int) -> Void
    ) throws(DataError) {
        var parser = Unicode.UTF8.ForwardParser()
        var iterator = bytes.makeIterator()
        var offset = 0
        while true {
            switch parser.parseScalar(from: &iterator) {
            case .valid(let encoded):
                body(Unicode.UTF8.decode(encoded), offset)
                offset += encoded.count
            case .error:
                let line = bytes[..<offset].reduce(into: 1) { if $1 == UInt8(ascii: "\n") { $0 += 1 } }
                throw .invalidUTF8(path: path, byte: offset, line: line, value: bytes[offset])
            case .emptyInput: return
            }
        }
    }
}
