import DTrainTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What can go wrong with weights and checkpoints on disk: which file, what about it, what to do. The command line
/// ends with exit code 4.
public enum CheckpointError: Error, Hashable, Sendable {
    /// The system refused: `code` is the errno.
    case fileSystem(operation: String, path: String, code: Int32)
    /// Not a valid safetensors file.
    case safetensors(path: String, SafetensorsProblem)
    /// Not a file of PyTorch's that dtrain reads.
    case torch(path: String, TorchProblem)
    /// Neither a safetensors file nor one of PyTorch's.
    case notWeights(path: String, reason: String)
    /// A directory or a state.json that is not a checkpoint of dtrain.
    case notACheckpoint(path: String, reason: String)
    /// Written by a later version of dtrain.
    case futureVersion(path: String, found: Int, supported: Int)
    /// A state.json that cannot be understood.
    case malformedState(path: String, reason: String)
    /// A file that state.json names is not there.
    case missingFile(path: String)
    /// A file has another size than state.json says.
    case wrongSize(path: String, expected: Int, found: Int)
    /// A file's content has another SHA-256 than recorded.
    case corrupt(path: String, expected: String, found: String)
    /// The tensors are not those of this model (or this optimizer).
    case mismatch(path: String, TensorMismatch)
    /// Averaged weights are asked for, and the run kept no average.
    case noAverage(path: String)
    /// No checkpoint in the directory is valid; those that are there, with their reasons.
    case noValidCheckpoint(directory: String, skipped: [SkippedCheckpoint])
}

extension CheckpointError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .fileSystem(let operation, let path, let code):
            return "cannot \(operation) \(path): \(String(cString: strerror(code)))" + Self.advice(code)
        case .safetensors(let path, let problem):
            return "\(path) is not a valid safetensors file: \(problem)"
        case .torch(let path, let problem):
            return "\(path) holds no weights that dtrain reads: \(problem)"
        case .notWeights(let path, let reason):
            return
                "\(path) holds no weights: \(reason). Name a .safetensors, .pth or .pt file, or a checkpoint's directory"
        case .notACheckpoint(let path, let reason):
            return "\(path) is not a checkpoint: \(reason). Name a directory like RUN/checkpoints/step-00000100"
        case .futureVersion(let path, let found, let supported):
            return "\(path) has format version \(found), this dtrain reads up to \(supported): use a newer dtrain"
        case .malformedState(let path, let reason):
            return "\(path) is damaged: \(reason). Resume from another checkpoint"
        case .missingFile(let path):
            return "\(path) is missing: the checkpoint is incomplete. Resume from another checkpoint"
        case .wrongSize(let path, let expected, let found):
            let what = found < expected ? "truncated" : "too long"
            return "\(path) is \(what): \(found) bytes, written with \(expected). Resume from another checkpoint"
        case .corrupt(let path, let expected, let found):
            return "\(path) is corrupt: its SHA-256 is \(found.prefix(16))…, written with \(expected.prefix(16))…. "
                + "Resume from another checkpoint"
        case .mismatch(let path, let mismatch):
            return "\(path) does not fit this model: \(mismatch)"
        case .noAverage(let path):
            return "\(path) holds no averaged weights: its run was started without --ema. Take those of training"
        case .noValidCheckpoint(let directory, let skipped):
            return "no valid checkpoint in \(directory); start afresh in another directory (--out):"
                + skipped.map { "\n  \($0)" }.joined()
        }
    }

    private static func advice(_ code: Int32) -> String {
        switch code {
        case ENOSPC, EDQUOT: ". Free space there or keep fewer checkpoints (--keep); earlier checkpoints are intact"
        case EROFS: ". Choose a writable directory (--out); earlier checkpoints are intact"
        case EACCES, EPERM: ". Allow it or choose another directory (--out)"
        case ENOENT: ". Check the path"
        default: ""
        }
    }
}

/// A checkpoint that was passed over in the search for a valid one.
public struct SkippedCheckpoint: Hashable, Sendable, CustomStringConvertible {
    public let path: String
    public let reason: CheckpointError

    public init(path: String, reason: CheckpointError) {
        self.path = path
        self.reason = reason
    }

    public var description: String { "skipped \(path): \(reason)" }
}
