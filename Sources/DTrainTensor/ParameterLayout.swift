/// How a parameter lies in the arena, compared with PyTorch's order of the same elements.
public enum StorageOrder: Hashable, Sendable {
    /// As in PyTorch.
    case plain
    /// A convolution's weight: output × kernel height × kernel width × input in the arena (OHWI), where PyTorch has OIHW.
    /// A one-dimensional one has kernel height 1.
    case convolution(outputs: Int, inputs: Int, height: Int, width: Int)
    /// The weight of a linear layer that reads a flattened image: each row is height × width × channel here,
    /// channel × height × width in PyTorch.
    case flattenedImage(outputs: Int, height: Int, width: Int, channels: Int)

    /// Calls `body(arenaIndex, torchIndex)` for every element.
    private func forEachPair(count: Int, _ body: (Int, Int) -> Void) {
        func permute(outer: Int, spatial: Int, channels: Int) {
            precondition(outer * spatial * channels == count, "\(count) elements are not those of \(self)")
            var arena = 0
            for o in 0..<outer {
                for s in 0..<spatial {
                    for c in 0..<channels {
                        body(arena, (o * channels + c) * spatial + s)
                        arena += 1
                    }
                }
            }
        }
        switch self {
        case .plain: for index in 0..<count { body(index, index) }
        case .convolution(let outputs, let inputs, let height, let width):
            permute(outer: outputs, spatial: height * width, channels: inputs)
        case .flattenedImage(let outputs, let height, let width, let channels):
            permute(outer: outputs, spatial: height * width, channels: channels)
        }
    }

    /// Sets the elements of the arena to the values at their positions in PyTorch's order.
    package func fill(_ arena: MemorySlice<Float>, with value: (Int) -> Float) {
        forEachPair(count: arena.count) { arena.base[$0] = value($1) }
    }

    /// Copies elements from the arena's order into PyTorch's.
    public func export(_ arena: MemorySlice<Float>, into torch: MemorySlice<Float>) {
        precondition(arena.count == torch.count)
        forEachPair(count: arena.count) { torch.base[$1] = arena.base[$0] }
    }

    /// Copies elements from PyTorch's order into the arena's.
    public func `import`(_ torch: MemorySlice<Float>, into arena: MemorySlice<Float>) {
        precondition(arena.count == torch.count)
        forEachPair(count: arena.count) { arena.base[$0] = torch.base[$1] }
    }
}

/// One tensor's place in the flat arena.
public struct ParameterSegment: Hashable, Sendable {
    /// What training does with it.
    public enum Role: Hashable, Sendable {
        /// It has a gradient and is updated by the optimizer.
        case trainable
        /// A parameter that training leaves alone.
        case frozen
        /// No parameter: state that the model keeps of what it has seen, such as running statistics.
        case buffer
    }

    /// The dotted path, as in PyTorch's state dictionary: `incep1.branch1x1.weight`.
    public let name: String
    /// PyTorch's shape.
    public let shape: Shape
    /// The elements' place in the arena, in floats. It starts on 64 bytes; the padding up to the next segment stays zero.
    public let range: Range<Int>
    public let order: StorageOrder
    public let role: Role
    /// `float32`, or `int64` for a counter, whose bytes then lie in the arena.
    public let dtype: DType
    /// Whether it is a weight in the narrow sense, of two dimensions or more, which weight decay and trust ratios are
    /// made for; not a bias, and not the scale or shift of a normalisation.
    public var isWeight: Bool { shape.rank > 1 }

    public init(
        name: String, shape: Shape, range: Range<Int>, order: StorageOrder, role: Role = .trainable,
        dtype: DType = .float32
    ) {
        precondition(dtype == .float32 || (dtype == .int64 && order == .plain), "\(name) as \(dtype.rawValue)")
        self.name = name
        self.shape = shape
        self.range = range
        self.order = order
        self.role = role
        self.dtype = dtype
    }

    /// A copy of the tensor in PyTorch's order; `arena` begins where the whole arena does.
    public func tensor(from arena: MemorySlice<Float>, suffix: String = "") -> NamedTensor {
        let tensor = NamedTensor(name: name + suffix, dtype: dtype, shape: shape)
        if dtype == .float32 {
            order.export(arena[range], into: tensor.floats)
        } else {
            tensor.memory.base.copyMemory(from: arena[range].base, byteCount: tensor.byteCount)
        }
        return tensor
    }

    /// Takes over `tensor`, of this segment's shape and type, in PyTorch's order.
    public func take(_ tensor: NamedTensor, into arena: MemorySlice<Float>) {
        precondition(tensor.shape == shape && tensor.dtype == dtype, "\(tensor.name) is no \(name)")
        if dtype == .float32 {
            order.import(tensor.floats, into: arena[range])
        } else {
            UnsafeMutableRawPointer(arena[range].base)
                .copyMemory(from: tensor.memory.base, byteCount: tensor.byteCount)
        }
    }
}

/// The segment table of a flat fp32 arena: trainable parameters in the order in which backward finishes their
/// gradients, then frozen ones, then buffers.
///
/// Gradients and optimizer state are arenas with the same offsets that stop at `trainableCount`.
public struct ParameterLayout: Hashable, Sendable {
    /// A tensor to be laid out.
    public typealias Entry = (name: String, shape: Shape, order: StorageOrder)

    public let segments: [ParameterSegment]
    /// Elements of the trainable part, padding included.
    public let trainableCount: Int
    /// Elements of the whole arena, padding included.
    public let totalCount: Int
    /// The number of parameters as people count them, without padding and buffers.
    public var parameterCount: Int { segments.reduce(0) { $0 + ($1.role == .buffer ? 0 : $1.range.count) } }
    /// Those of them that training changes.
    public var trainableParameterCount: Int {
        segments.reduce(0) { $0 + ($1.role == .trainable ? $1.range.count : 0) }
    }

    /// Elements in 64 bytes: every segment starts at a multiple of this.
    public static let alignment = AlignedMemory.alignment / MemoryLayout<Float>.stride

    /// Lays out the tensors in the given order.
    public init(
        trainable: [Entry], frozen: [Entry] = [], buffers: [(name: String, shape: Shape, dtype: DType)] = []
    ) {
        var segments: [ParameterSegment] = []
        var offset = 0
        func append(
            _ name: String, _ shape: Shape, _ order: StorageOrder, _ role: ParameterSegment.Role, _ dtype: DType
        ) {
            let range = offset..<offset + shape.count * dtype.byteCount / MemoryLayout<Float>.stride
            segments.append(
                ParameterSegment(name: name, shape: shape, range: range, order: order, role: role, dtype: dtype))
            offset = (range.upperBound + Self.alignment - 1) / Self.alignment * Self.alignment
        }
        for entry in trainable { append(entry.name, entry.shape, entry.order, .trainable, .float32) }
        trainableCount = offset
        for entry in frozen { append(entry.name, entry.shape, entry.order, .frozen, .float32) }
        for entry in buffers { append(entry.name, entry.shape, .plain, .buffer, entry.dtype) }
        totalCount = offset
        self.segments = segments
    }

    /// The tensors of an arena by name, in PyTorch's shapes and order: all of them, or, for an arena that stops at
    /// `trainableCount` (optimizer state), the trainable ones. `suffix` is appended to each name.
    public func tensors(from arena: MemorySlice<Float>, suffix: String = "") -> [NamedTensor] {
        segments.filter { $0.range.upperBound <= arena.count }.map { $0.tensor(from: arena, suffix: suffix) }
    }
}

/// A tensor outside the arena: a name, a type, a shape, and the elements in row-major order.
public struct NamedTensor: Sendable {
    public var name: String
    public let dtype: DType
    public let shape: Shape
    public let memory: AlignedMemory

    /// A tensor of zeros.
    public init(name: String, dtype: DType, shape: Shape) {
        self.name = name
        self.dtype = dtype
        self.shape = shape
        memory = AlignedMemory(byteCount: shape.count * dtype.byteCount)
    }

    public init(name: String, shape: Shape, floats: [Float]) {
        precondition(floats.count == shape.count, "\(name): \(floats.count) elements for shape \(shape)")
        self.init(name: name, dtype: .float32, shape: shape)
        for (index, value) in floats.enumerated() { self.floats[index] = value }
    }

    public var byteCount: Int { shape.count * dtype.byteCount }
    /// The elements of a `float32` tensor.
    public var floats: MemorySlice<Float> {
        precondition(dtype == .float32, "\(name) is \(dtype.rawValue), not F32")
        return memory.slice()[0..<shape.count]
    }
}
