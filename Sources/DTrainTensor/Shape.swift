/// The extents of a tensor, outermost first. An empty shape is a scalar with one element.
public struct Shape: Hashable, Sendable, Codable, ExpressibleByArrayLiteral, CustomStringConvertible {
    /// The extents, outermost first.
    public var dimensions: [Int]

    public init(_ dimensions: [Int]) { self.dimensions = dimensions }
    public init(arrayLiteral elements: Int...) { dimensions = elements }

    /// The number of dimensions.
    public var rank: Int { dimensions.count }
    /// The number of elements: the product of the extents.
    public var count: Int { dimensions.reduce(1, *) }
    public subscript(_ axis: Int) -> Int { dimensions[axis] }
    /// `64×3×7×7`; a scalar reads `scalar`.
    public var description: String {
        dimensions.isEmpty ? "scalar" : dimensions.map(String.init).joined(separator: "×")
    }
}

/// The element types that dtrain stores or computes with; the raw value is the name in a safetensors header.
public enum DType: String, Sendable, Codable, CaseIterable {
    case float32 = "F32", float64 = "F64", bfloat16 = "BF16", uint8 = "U8", int32 = "I32", int64 = "I64"

    /// The size of one element in bytes.
    public var byteCount: Int {
        switch self {
        case .float64, .int64: 8
        case .float32, .int32: 4
        case .bfloat16: 2
        case .uint8: 1
        }
    }
}
