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
        let type: StoredType
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
            ($0.name, Place(type: $0.type, shape: $0.shape, range: $0.range))
        }
        places = Dictionary(uniqueKeysWithValues: order.map { ($0.name, $0.place) })
    }

    /// The shape of a tensor; nil where there is none of that name.
    public func shape(of name: String) -> Shape? { places[name]?.shape }
    /// The type that a tensor's elements have in the file; nil where there is none of that name.
    public func type(of name: String) -> StoredType? { places[name]?.type }

    /// Reads one tensor, as `StoredType.readType` says; types that it does not read throw.
    public func tensor(_ name: String) throws(CheckpointError) -> NamedTensor {
        guard let place = places[name] else { throw .safetensors(path: file.path, .noSuchTensor(name)) }
        let start = dataStart + place.range.lowerBound
        let tensor = try place.type.tensor(name, shape: place.shape) { (memory) throws(CheckpointError) in
            try file.read(memory, at: start)
        }
        guard let tensor else {
            throw .safetensors(path: file.path, .unsupportedType(name: name, type: place.type.rawValue))
        }
        return tensor
    }

    /// Reads all tensors.
    public func tensors() throws(CheckpointError) -> [NamedTensor] {
        var tensors: [NamedTensor] = []
        for name in names { tensors.append(try tensor(name)) }
        return tensors
    }
}
