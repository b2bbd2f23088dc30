import DTrainTensor

/// Reads the JSON of a safetensors header.
///
/// A parser of its own, because general ones keep one of two equal keys and say nothing, and because an error here
/// can name its byte.
struct SafetensorsHeaderParser {
    private let text: [UInt8]
    private var position = 0

    init(_ text: [UInt8]) { self.text = text }

    /// The tensors in the order of the text, and `__metadata__`.
    mutating func parse() throws(SafetensorsProblem) -> ([SafetensorsHeader.Entry], [String: String]) {
        var entries: [SafetensorsHeader.Entry] = []
        var metadata: [String: String]?
        try parseObject { (parser, key) throws(SafetensorsProblem) in
            if key == "__metadata__" {
                if metadata != nil { throw .duplicateName(key) }
                metadata = try parser.parseMetadata()
            } else {
                entries.append(try parser.parseEntry(key))
            }
        }
        skipSpace()
        guard position == text.count else { throw problem("text after the end of the object") }
        return (entries, metadata ?? [:])
    }

    private mutating func parseMetadata() throws(SafetensorsProblem) -> [String: String] {
        var metadata: [String: String] = [:]
        try parseObject { (parser, key) throws(SafetensorsProblem) in
            let value = try parser.parseString()
            guard metadata.updateValue(value, forKey: key) == nil else { throw parser.problem("\(key) is there twice") }
        }
        return metadata
    }

    private mutating func parseEntry(_ name: String) throws(SafetensorsProblem) -> SafetensorsHeader.Entry {
        var type: StoredType?
        var shape: [Int]?
        var offsets: [Int]?
        try parseObject { (parser, key) throws(SafetensorsProblem) in
            switch key {
            case "dtype" where type == nil:
                let text = try parser.parseString()
                type = StoredType(rawValue: text)
                if type == nil { throw .unsupportedType(name: name, type: text) }
            case "shape" where shape == nil: shape = try parser.parseIntegers()
            case "data_offsets" where offsets == nil: offsets = try parser.parseIntegers()
            default: throw parser.problem("tensor \(name) has the key \(key) twice, or no tensor has it")
            }
        }
        guard let type, let shape, let offsets, offsets.count == 2, offsets[0] <= offsets[1] else {
            throw problem("tensor \(name) needs dtype, shape, and data_offsets [begin, end]")
        }
        return SafetensorsHeader.Entry(name: name, type: type, shape: Shape(shape), range: offsets[0]..<offsets[1])
    }

    // MARK: JSON

    private mutating func parseObject(
        _ member: (inout Self, String) throws(SafetensorsProblem) -> Void
    ) throws(SafetensorsProblem) {
        try expect("{")
        if accept("}") { return }
        repeat {
            let key = try parseString()
            try expect(":")
            try member(&self, key)
        } while accept(",")
        try expect("}")
    }

    private mutating func parseIntegers() throws(SafetensorsProblem) -> [Int] {
        var values: [Int] = []
        try expect("[")
        if accept("]") { return [] }
        repeat { values.append(try parseInteger()) } while accept(",")
        try expect("]")
        return values
    }

    private mutating func parseInteger() throws(SafetensorsProblem) -> Int {
        skipSpace()
        let start = position
        while position < text.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(text[position]) { position += 1 }
        guard let value = Int(String(decoding: text[start..<position], as: UTF8.self)) else {
            throw problem("a whole number from 0 to 2⁶³ − 1 is expected")
        }
        return value
    }

    private mutating func parseString() throws(SafetensorsProblem) -> String {
        try expect("\"")
        var bytes: [UInt8] = []
        while position < text.count {
            let byte = text[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: bytes, as: UTF8.self) else { throw problem("no valid UTF-8") }
                return string
            case UInt8(ascii: "\\"): bytes += try parseEscape()
            case 0..<0x20: throw problem("a control character in a string")
            default: bytes.append(byte)
            }
        }
        throw problem("the string has no end")
    }

    /// What a backslash stands for, in UTF-8.
    private mutating func parseEscape() throws(SafetensorsProblem) -> [UInt8] {
        guard position < text.count else { throw problem("the string has no end") }
        position += 1
        switch text[position - 1] {
        case UInt8(ascii: "n"): return [0x0A]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "r"): return [0x0D]
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "f"): return [0x0C]
        case UInt8(ascii: "u"):
            var units = [try parseUnit()]
            if UTF16.isLeadSurrogate(units[0]) {
                guard text[position...].starts(with: "\\u".utf8) else { throw problem("half a surrogate pair") }
                position += 2
                units.append(try parseUnit())
            }
            guard let string = String(validating: units, as: UTF16.self) else { throw problem("half a surrogate pair") }
            return Array(string.utf8)
        case let byte where [UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/")].contains(byte): return [byte]
        default: throw problem("an unknown escape")
        }
    }

    private mutating func parseUnit() throws(SafetensorsProblem) -> UInt16 {
        let digits = text[position..<min(position + 4, text.count)]
        guard digits.count == 4, digits.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }),
            let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw problem("four hexadecimal digits are expected") }
        position += 4
        return unit
    }

    private mutating func skipSpace() {
        while position < text.count, [0x20, 0x09, 0x0A, 0x0D].contains(text[position]) { position += 1 }
    }

    private mutating func accept(_ character: UnicodeScalar) -> Bool {
        skipSpace()
        guard position < text.count, text[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ character: UnicodeScalar) throws(SafetensorsProblem) {
        if !accept(character) { throw problem("\(character) is expected") }
    }

    /// The text begins at byte 8 of the file.
    private func problem(_ reason: String) -> SafetensorsProblem {
        .malformedHeader(byte: 8 + position, reason: reason)
    }
}
