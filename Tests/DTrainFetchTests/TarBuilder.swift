import CZlib
import Foundation

/// Makes tar archives, bad ones too.
struct TarBuilder {
    var bytes: [UInt8] = []

    /// A header and its content. `size` is what the header says; by default the truth.
    mutating func add(_ name: String, _ content: [UInt8] = [], type: Character = "0", size: Int? = nil) {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            for (index, byte) in text.utf8.enumerated() { block[offset + index] = byte }
        }
        put(name, at: 0)
        put("0000644\0", at: 100)
        put("0000000\0", at: 108)
        put("0000000\0", at: 116)
        put(octal(size ?? content.count, digits: 11) + "\0", at: 124)
        put("00000000000\0", at: 136)
        block[156] = type.asciiValue!
        put("ustar\u{0}00", at: 257)
        Self.sign(&block)
        bytes += block + content
        bytes += [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }

    /// A pax header for the next entry.
    mutating func addPax(_ records: [(String, String)], type: Character = "x") {
        var text = ""
        for (keyword, value) in records {
            let rest = " \(keyword)=\(value)\n"
            var length = rest.utf8.count + 1
            while "\(length)".utf8.count + rest.utf8.count != length { length += 1 }
            text += "\(length)" + rest
        }
        add("pax", Array(text.utf8), type: type)
    }

    mutating func end() { bytes += [UInt8](repeating: 0, count: 1024) }

    /// Writes the checksum of a header.
    static func sign(_ block: inout [UInt8]) {
        for index in 148..<156 { block[index] = 32 }
        let sum = block.reduce(0) { $0 + Int($1) }
        let text = String(sum, radix: 8)
        let padded = String(repeating: "0", count: max(0, 6 - text.count)) + text + "\0 "
        for (index, byte) in padded.utf8.enumerated() { block[148 + index] = byte }
    }

    private func octal(_ value: Int, digits: Int) -> String {
        let text = String(value, radix: 8)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}

/// Writes `bytes` through gzip to `path`.
func writeGzip(_ bytes: [UInt8], to path: String) {
    let file = gzopen(path, "wb6")
    _ = bytes.withUnsafeBytes { gzwrite(file, $0.baseAddress, UInt32($0.count)) }
    gzclose(file)
}
