/// One 512-byte header of a tar archive (POSIX.1-1988 ustar, with GNU's large numbers).
struct TarHeader {
    static let byteCount = 512

    enum Problem: Error {
        case checksum
        case number
        case magic
    }

    let name: String
    /// Bytes of content that follow, padded to a multiple of 512.
    let size: Int
    /// `0` or NUL a file, `5` a folder, `x` and `g` pax records, `L` GNU's long name.
    let type: UInt8

    /// Reads `block`, 512 bytes that are not all zero.
    init(_ block: [UInt8]) throws(Problem) {
        // The checksum counts its own field as spaces.
        let sum = block.enumerated().reduce(0) { $0 + (148..<156 ~= $1.offset ? 32 : Int($1.element)) }
        guard let recorded = Self.number(block[148..<156]), recorded == sum else { throw .checksum }
        guard block[257..<262].elementsEqual("ustar".utf8) else { throw .magic }
        guard let size = Self.number(block[124..<136]) else { throw .number }
        self.size = size
        type = block[156]
        // GNU archives (`ustar` and two spaces) keep times where POSIX has the name's first part.
        let prefix = block[262] == 0 ? Self.text(block[345..<500]) : ""
        let suffix = Self.text(block[0..<100])
        name = prefix.isEmpty ? suffix : prefix + "/" + suffix
    }

    private static func text(_ field: ArraySlice<UInt8>) -> String {
        String(decoding: field.prefix { $0 != 0 }, as: UTF8.self)
    }

    /// Octal digits between blanks, or, where the top bit is set, a big-endian binary number. Nil for anything else, and
    /// above 2⁵⁶.
    private static func number(_ field: ArraySlice<UInt8>) -> Int? {
        if let first = field.first, first & 0x80 != 0 {
            guard first == 0x80 else { return nil }
            let bytes = field.dropFirst().drop { $0 == 0 }
            return bytes.count > 7 ? nil : bytes.reduce(0) { $0 << 8 | Int($1) }
        }
        let digits = field.drop { $0 == 32 }.prefix { $0 != 0 && $0 != 32 }
        guard digits.allSatisfy({ 48...55 ~= $0 }) else { return nil }
        return digits.reduce(0) { $0 << 3 | Int($1 - 48) }
    }
}

/// The records of a pax header: `LENGTH KEYWORD=VALUE\n`, where the length counts the whole record (POSIX.1-2001).
enum PaxRecords {
    /// The records by keyword; nil where they are damaged.
    static func parse(_ bytes: [UInt8]) -> [String: String]? {
        var records: [String: String] = [:]
        var rest = bytes[...]
        while !rest.isEmpty {
            let digits = rest.prefix { 48...57 ~= $0 }
            guard !digits.isEmpty, digits.count < 8, let length = Int(String(decoding: digits, as: UTF8.self)),
                length <= rest.count, length > digits.count + 2
            else { return nil }
            let record = rest.prefix(length)
            guard record[record.startIndex + digits.count] == 32, record.last == 10,
                let equals = record.firstIndex(of: 61)
            else { return nil }
            let keyword = String(decoding: record[..<equals].dropFirst(digits.count + 1), as: UTF8.self)
            records[keyword] = String(decoding: record[(equals + 1)...].dropLast(), as: UTF8.self)
            rest = rest.dropFirst(length)
        }
        return records
    }
}
