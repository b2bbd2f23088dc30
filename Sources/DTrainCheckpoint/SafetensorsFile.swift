import DTrainTensor

/// A safetensors file (https://github.com/huggingface/safetensors#format): the length of the header (8 bytes,
/// little-endian), the header (JSON), the tensors' elements, little-endian and row-major.
///
/// Opening checks the whole structure; elements are read when asked for.
public struct SafetensorsFile: Sendable {
    /// The tensors' names, in the order of their data.
    public var names: [String] { order.map(\.name) }
    /// The header's free text by key.
    public let metadata: [String: String]

    private let file: FileInput
    private let dataStart: Int
    private let order: [(name: String, place: Place)]
    private let places: [String: Place]

    private struct Place: Sendable {
        let type: String
        let shape: Shape
        let range: Range<Int>
    }

    /// Opens `path` and checks it: header, names, types, sizes, no overlap, no hole, nothing cut off, nothing after.
    public init(_ path: String) throws(CheckpointError) {
        file = try FileInput(path)
        func fail(_ problem: SafetensorsProblem) -> CheckpointError { .safetensors(path: path, problem) }
        guard file.byteCount >= 8 else { throw fail(.truncated(expected: 8, found: file.byteCount)) }
        let length = try file.bytes(0..<8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length >= 2 && length <= SafetensorsHeader.byteLimit else {
            throw fail(.wrongBeginning(reason: "its first 8 bytes say that the header has \(length) bytes"))
        }
        dataStart = 8 + Int(length)
        guard file.byteCount > 8 else { throw fail(.truncated(expected: dataStart, found: file.byteCount)) }
        guard try file.bytes(8..<9)[0] == UInt8(ascii: "{") else {
            throw fail(.wrongBeginning(reason: "its header does not begin with {"))
        }
        guard file.byteCount >= dataStart else { throw fail(.truncated(expected: dataStart, found: file.byteCount)) }
        let header: SafetensorsHeader
        let text = try file.bytes(8..<dataStart)
        do { header = try SafetensorsHeader(json: text) } catch { throw fail(error) }
        // Offsets come from the file: their sum may not overflow.
        let (end, overflow) = dataStart.addingReportingOverflow(header.dataByteCount)
        guard !overflow && end <= file.byteCount else {
            throw fail(.truncated(expected: overflow ? .max : end, found: file.byteCount))
        }
        guard end == file.byteCount else { throw fail(.trailingBytes(expected: end, found: file.byteCount)) }
        metadata = header.metadata
        order = header.entries.map {
            ($0.name, Place(type: $0.type.rawValue, shape: $0.shape, range: $0.range))
        }
        places = Dictionary(uniqueKeysWithValues: order.map { ($0.name, $0.place) })
    }

    /// The shape of a tensor; nil where there is none of that name.
    public func shape(of name: String) -> Shape? { places[name]?.shape }

    /// Reads one tensor. F32, F64, U8, I32 and I64 come as they are, F16 and BF16 exactly widened to F32; other types
    /// throw.
    public func tensor(_ name: String) throws(CheckpointError) -> NamedTensor {
        guard let place = places[name] else { throw .safetensors(path: file.path, .noSuchTensor(name)) }
        let start = dataStart + place.range.lowerBound
        if place.type == "F16" || place.type == "BF16" {
            let tensor = NamedTensor(name: name, dtype: .float32, shape: place.shape)
            let halves = AlignedMemory(byteCount: place.range.count)
            try file.read(UnsafeMutableRawBufferPointer(start: halves.base, count: place.range.count), at: start)
            withExtendedLifetime(halves) {
                let bits = halves.slice(of: UInt16.self)
                let floats = tensor.floats
                for index in 0..<place.shape.count {
                    floats[index] =
                        place.type == "BF16" ? Float(bitPattern: UInt32(bits[index]) << 16) : widened(half: bits[index])
                }
            }
            return tensor
        }
        guard let type = DType(rawValue: place.type) else {
            throw .safetensors(path: file.path, .unsupportedType(name: name, type: place.type))
        }
        let tensor = NamedTensor(name: name, dtype: type, shape: place.shape)
        try file.read(UnsafeMutableRawBufferPointer(start: tensor.memory.base, count: tensor.byteCount), at: start)
        return tensor
    }

    /// Reads all tensors.
    public func tensors() throws(CheckpointError) -> [NamedTensor] {
        var tensors: [NamedTensor] = []
        for name in names { tensors.append(try tensor(name)) }
        return tensors
    }
}

/// The value of an IEEE 754 binary16. (`Float16` does not exist on every platform.)
private func widened(half bits: UInt16) -> Float {
    let sign: Float = bits & 0x8000 == 0 ? 1 : -1
    let exponent = Int(bits >> 10 & 0x1F)
    let fraction = Float(bits & 0x3FF)
    switch exponent {
    case 0: return sign * fraction * 0x1p-24
    case 31: return fraction == 0 ? sign * .infinity : .nan
    default: return sign * (1024 + fraction) * Float(sign: .plus, exponent: exponent - 25, significand: 1)
    }
}
