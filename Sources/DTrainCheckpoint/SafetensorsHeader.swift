import DTrainTensor

/// The JSON at the start of a safetensors file: what tensors there are and where.
struct SafetensorsHeader {
    struct Entry {
        let name: String
        let type: StoredType
        let shape: Shape
        /// Bytes, counted from the end of the header.
        let range: Range<Int>
    }

    /// In the order of their data.
    var entries: [Entry]
    var metadata: [String: String]

    /// The end of the last tensor, counted from the end of the header.
    var dataByteCount: Int { entries.last?.range.upperBound ?? 0 }

    /// The format's own limit (100 MB): a larger header is no header.
    static let byteLimit = 100_000_000

    /// Parses and checks the JSON text: each tensor as large as its shape and type say, one after the other, no overlap,
    /// no hole.
    init(json: [UInt8]) throws(SafetensorsProblem) {
        var parser = SafetensorsHeaderParser(json)
        (entries, metadata) = try parser.parse()
        var names: Set<String> = []
        for entry in entries where !names.insert(entry.name).inserted { throw .duplicateName(entry.name) }
        entries.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
        var previous: Entry?
        for entry in entries {
            let byteCount = entry.shape.dimensions.reduce(entry.type.byteCount as Int?) { product, extent in
                guard let product else { return nil }
                let (next, overflow) = product.multipliedReportingOverflow(by: extent)
                return overflow ? nil : next
            }
            guard byteCount == entry.range.count else {
                throw .sizeMismatch(
                    name: entry.name, type: entry.type.rawValue, shape: entry.shape, found: entry.range.count)
            }
            let end = previous?.range.upperBound ?? 0
            if let previous, entry.range.lowerBound < end { throw .overlap(previous.name, entry.name) }
            guard entry.range.lowerBound == end else {
                throw .hole(before: entry.name, byteCount: entry.range.lowerBound - end)
            }
            previous = entry
        }
    }

    /// The header of `tensors`, laid out in the given order.
    init(of tensors: [NamedTensor], metadata: [String: String]) throws(SafetensorsProblem) {
        self.metadata = metadata
        entries = []
        var offset = 0
        var names: Set<String> = []
        for tensor in tensors {
            guard names.insert(tensor.name).inserted else { throw .duplicateName(tensor.name) }
            let type = StoredType(rawValue: tensor.dtype.rawValue)!
            let range = offset..<offset + tensor.byteCount
            entries.append(Entry(name: tensor.name, type: type, shape: tensor.shape, range: range))
            offset = range.upperBound
        }
    }

    /// The bytes before the data: the length of the JSON text and the text, padded with spaces to 8 bytes.
    var bytes: [UInt8] {
        var parts: [String] = []
        if !metadata.isEmpty {
            let pairs = metadata.sorted { $0.key < $1.key }.map { Self.quoted($0.key) + ":" + Self.quoted($0.value) }
            parts.append("\"__metadata__\":{" + pairs.joined(separator: ",") + "}")
        }
        for entry in entries {
            let shape = entry.shape.dimensions.map(String.init).joined(separator: ",")
            parts.append(
                "\(Self.quoted(entry.name)):{\"dtype\":\"\(entry.type.rawValue)\",\"shape\":[\(shape)],"
                    + "\"data_offsets\":[\(entry.range.lowerBound),\(entry.range.upperBound)]}")
        }
        var text = Array(("{" + parts.joined(separator: ",") + "}").utf8)
        text += repeatElement(UInt8(ascii: " "), count: (8 - text.count % 8) % 8)
        return (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) } + text
    }

    /// A JSON string.
    private static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
