import DTrainTensor

/// A place in a model that takes a tensor from a weights file: a parameter, a buffer, a counter.
public struct WeightsTarget: Sendable {
    /// The dotted name, as in PyTorch's state dictionary.
    public let name: String
    /// PyTorch's shape.
    public let shape: Shape
    /// The type that `store` wants: F32 takes F64 as well (rounded), I64 takes I32 and U8.
    public let type: DType
    private let put: @Sendable (NamedTensor) -> Void

    /// A target that `store` fills. It is called at most once, after everything else was found to fit, with a tensor of
    /// this type and shape in PyTorch's order.
    public init(name: String, shape: Shape, type: DType, store: @escaping @Sendable (NamedTensor) -> Void) {
        self.name = name
        self.shape = shape
        self.type = type
        put = store
    }

    /// One integer in memory: how many batches a batch normalisation has seen (`num_batches_tracked`).
    public init(counter name: String, _ memory: MemorySlice<Int64>) {
        precondition(memory.count == 1, "counter \(name) has \(memory.count) elements")
        self.init(name: name, shape: [], type: .int64) { tensor in
            withExtendedLifetime(tensor.memory) { memory[0] = tensor.memory.slice(of: Int64.self)[0] }
        }
    }

    func store(_ tensor: NamedTensor) {
        precondition(tensor.shape == shape && tensor.dtype == type, "\(name) does not fit")
        put(tensor)
    }

    /// Whether a tensor that is read as `found` can become one of `type`.
    func takes(_ found: DType) -> Bool {
        found == type || (type == .float32 && found == .float64)
            || (type == .int64 && (found == .int32 || found == .uint8))
    }

    /// `tensor`, whose type `takes` allows, as one of `type`.
    func converted(_ tensor: NamedTensor) -> NamedTensor {
        if tensor.dtype == type { return tensor }
        let converted = NamedTensor(name: tensor.name, dtype: type, shape: shape)
        func convert<From: BitwiseCopyable, To: BitwiseCopyable>(_ value: (From) -> To) {
            withExtendedLifetime(tensor.memory) {
                let (from, to) = (tensor.memory.slice(of: From.self), converted.memory.slice(of: To.self))
                for index in 0..<shape.count { to[index] = value(from[index]) }
            }
        }
        switch tensor.dtype {
        case .float64: convert { (value: Double) in Float(value) }
        case .int32: convert { (value: Int32) in Int64(value) }
        default: convert { (value: UInt8) in Int64(value) }
        }
        return converted
    }
}

extension NamedArena {
    /// The tensors of this arena (parameters, running statistics, counters) as targets. The memory must outlive them.
    public var targets: [WeightsTarget] {
        layout.segments.filter { $0.range.upperBound <= memory.count }.map { segment in
            let memory = memory
            return WeightsTarget(name: segment.name + suffix, shape: segment.shape, type: segment.dtype) { tensor in
                withExtendedLifetime(tensor.memory) { segment.take(tensor, into: memory) }
            }
        }
    }
}
