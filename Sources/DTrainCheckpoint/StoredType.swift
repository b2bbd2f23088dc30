import DTrainTensor

/// The element types that files hold; the raw value is the name in a safetensors header.
public enum StoredType: String, CaseIterable, Sendable {
    case bool = "BOOL", uint8 = "U8", int8 = "I8", float8E5M2 = "F8_E5M2", float8E4M3 = "F8_E4M3", int16 = "I16"
    case uint16 = "U16", float16 = "F16", bfloat16 = "BF16", int32 = "I32", uint32 = "U32", float32 = "F32"
    case float64 = "F64", int64 = "I64", uint64 = "U64"

    /// The size of one element in bytes.
    public var byteCount: Int {
        switch self {
        case .bool, .uint8, .int8, .float8E5M2, .float8E4M3: 1
        case .int16, .uint16, .float16, .bfloat16: 2
        case .int32, .uint32, .float32: 4
        case .float64, .int64, .uint64: 8
        }
    }

    /// The type that such elements are read as, always without loss: F32, F64, U8, I32 and I64 stay, F16 and BF16 become
    /// F32, BOOL becomes U8 (0 or 1), small integers I32, U32 becomes I64. Nil for what dtrain does not read.
    public var readType: DType? {
        switch self {
        case .float32, .float16, .bfloat16: .float32
        case .float64: .float64
        case .uint8, .bool: .uint8
        case .int32, .int8, .int16, .uint16: .int32
        case .int64, .uint32: .int64
        case .uint64, .float8E5M2, .float8E4M3: nil
        }
    }

    /// A tensor of type `readType` from elements that `read` puts, as they are stored, into the memory it is given.
    /// Nil, and nothing read, where `readType` is nil.
    func tensor(
        _ name: String, shape: Shape, read: (UnsafeMutableRawBufferPointer) throws(CheckpointError) -> Void
    ) throws(CheckpointError) -> NamedTensor? {
        guard let type = readType else { return nil }
        let tensor = NamedTensor(name: name, dtype: type, shape: shape)
        if type.rawValue == rawValue {
            try read(UnsafeMutableRawBufferPointer(start: tensor.memory.base, count: tensor.byteCount))
            return tensor
        }
        let stored = AlignedMemory(byteCount: shape.count * byteCount)
        try read(UnsafeMutableRawBufferPointer(start: stored.base, count: shape.count * byteCount))
        func widen<From: BitwiseCopyable, To: BitwiseCopyable>(_ value: (From) -> To) {
            withExtendedLifetime(stored) {
                let (from, to) = (stored.slice(of: From.self), tensor.memory.slice(of: To.self))
                for index in 0..<shape.count { to[index] = value(from[index]) }
            }
        }
        switch self {
        case .float16: widen(widened(half:))
        case .bfloat16: widen { (bits: UInt16) in Float(bitPattern: UInt32(bits) << 16) }
        case .bool: widen { (byte: UInt8) in byte == 0 ? 0 : 1 as UInt8 }
        case .int8: widen { (value: Int8) in Int32(value) }
        case .int16: widen { (value: Int16) in Int32(value) }
        case .uint16: widen { (value: UInt16) in Int32(value) }
        case .uint32: widen { (value: UInt32) in Int64(value) }
        case .uint8, .int32, .int64, .float32, .float64, .uint64, .float8E5M2, .float8E4M3: break
        }
        return tensor
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
