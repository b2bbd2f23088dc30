public import DTrainTensor

/// Why a model cannot be written as ONNX.
public enum ONNXError: Error, Hashable, Sendable {
    /// An operation that ONNX has no words for, or that the exporter does not know. `layer` is empty for a function.
    case unsupported(layer: String, operation: String, reason: String)
    /// The weights are not those of the model.
    case parameters(TensorMismatch)
    /// More bytes than a Protocol Buffers message may have.
    case tooLarge(byteCount: Int, limit: Int)
}

extension ONNXError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unsupported(let layer, let operation, let reason):
            "cannot write \(layer.isEmpty ? operation : "\(layer) (\(operation))") as ONNX: \(reason)"
        case .parameters(let mismatch):
            "cannot write the model as ONNX, its weights do not fit: \(mismatch)"
        case .tooLarge(let byteCount, let limit):
            "the model has \(byteCount) bytes, and an ONNX file has at most \(limit), as every message of Protocol "
                + "Buffers; export it as safetensors"
        }
    }
}
