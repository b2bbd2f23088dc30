import DTrainTensor

/// What is wrong with a file that PyTorch's `torch.save` wrote.
public enum TorchProblem: Error, Hashable, Sendable, CustomStringConvertible {
    /// The zip archive around it is damaged; `byte` counts from the start of the file.
    case malformedArchive(byte: Int, reason: String)
    /// It ends before byte `expected`.
    case truncated(expected: Int, found: Int)
    /// An entry of the archive has another content than was written.
    case wrongChecksum(entry: String, expected: UInt32, found: UInt32)
    /// The pickle that describes the tensors is damaged; `byte` counts from the start of `part` (an entry of the archive,
    /// or `the file`).
    case malformedPickle(part: String, byte: Int, reason: String)
    /// It holds something else than a state dictionary.
    case notAStateDictionary(reason: String)
    /// A kind of file that dtrain does not read.
    case unsupportedFormat(reason: String)
    /// The pickle describes a tensor, or the storage `name`, that cannot be.
    case malformedTensor(name: String, reason: String)
    /// The tensors need far more memory than a file of this size can fill.
    case tooLarge(name: String, byteCount: Int, limit: Int)
    case noSuchTensor(String)
    /// Something in a tensor's place would have to be built by running code of Python's, or is no tensor.
    case notATensor(name: String, reason: String)
    /// A type that dtrain does not compute with.
    case unsupportedType(name: String, type: String)

    public var description: String {
        switch self {
        case .malformedArchive(let byte, let reason): "archive, byte \(byte): \(reason)"
        case .truncated(let expected, let found): "it is truncated: \(found) bytes, it needs at least \(expected)"
        case .wrongChecksum(let entry, let expected, let found):
            "its entry \(entry) is damaged: CRC-32 \(String(found, radix: 16)), written with "
                + "\(String(expected, radix: 16)). Copy or download it again"
        case .malformedPickle(let part, let byte, let reason): "pickle, byte \(byte) of \(part): \(reason)"
        case .notAStateDictionary(let reason):
            "\(reason). Save the state dictionary in PyTorch: torch.save(model.state_dict(), FILE)"
        case .unsupportedFormat(let reason): reason
        case .malformedTensor(let name, let reason): "\(name) \(reason)"
        case .tooLarge(let name, let byteCount, let limit):
            "with tensor \(name) its tensors would need \(byteCount) bytes, of a file of this size dtrain takes "
                + "\(limit). Clone expanded tensors and views before saving them"
        case .noSuchTensor(let name): "it has no tensor named \(name)"
        case .notATensor(let name, let reason): "\(name) is no tensor that dtrain reads: \(reason)"
        case .unsupportedType(let name, let type): "tensor \(name) has type \(type), which dtrain does not read"
        }
    }
}
