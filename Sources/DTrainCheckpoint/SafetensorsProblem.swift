import DTrainTensor

/// What is wrong with a safetensors file.
public enum SafetensorsProblem: Error, Hashable, Sendable, CustomStringConvertible {
    /// It does not begin as such a file does.
    case wrongBeginning(reason: String)
    /// It ends before byte `expected`.
    case truncated(expected: Int, found: Int)
    /// Bytes follow the last tensor.
    case trailingBytes(expected: Int, found: Int)
    /// The header is not the JSON it has to be; `byte` counts from the start of the file.
    case malformedHeader(byte: Int, reason: String)
    case duplicateName(String)
    /// A tensor's shape and type need another number of bytes than it has.
    case sizeMismatch(name: String, type: String, shape: Shape, found: Int)
    case overlap(String, String)
    /// Bytes before a tensor that belong to none.
    case hole(before: String, byteCount: Int)
    case noSuchTensor(String)
    /// A type that dtrain does not compute with.
    case unsupportedType(name: String, type: String)

    public var description: String {
        switch self {
        case .wrongBeginning(let reason): reason
        case .truncated(let expected, let found): "it is truncated: \(found) bytes, it needs \(expected)"
        case .trailingBytes(let expected, let found): "it has \(found) bytes, its tensors end at byte \(expected)"
        case .malformedHeader(let byte, let reason): "header, byte \(byte): \(reason)"
        case .duplicateName(let name): "it has two tensors named \(name)"
        case .sizeMismatch(let name, let type, let shape, let found):
            "tensor \(name) has \(found) bytes, which \(shape) \(type) does not fill"
        case .overlap(let first, let second): "tensors \(first) and \(second) overlap"
        case .hole(let name, let byteCount): "\(byteCount) bytes before tensor \(name) belong to no tensor"
        case .noSuchTensor(let name): "it has no tensor named \(name)"
        case .unsupportedType(let name, let type): "tensor \(name) has type \(type), which dtrain does not read"
        }
    }
}
