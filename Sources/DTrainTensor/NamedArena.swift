/// A flat fp32 arena together with the names of what lies in it: how state moves between layouts and files.
///
/// A model's parameters are one (`suffix` empty), each state of an optimizer another (`.momentum_buffer`).
public struct NamedArena: Sendable {
    /// What the averaged weights are called among an optimizer's states: `conv1.weight.average`.
    public static let averageName = "average"

    public let layout: ParameterLayout
    /// The whole arena, or the trainable part alone.
    public let memory: MemorySlice<Float>
    /// Appended to each parameter's name.
    public let suffix: String

    public init(_ layout: ParameterLayout, _ memory: MemorySlice<Float>, suffix: String = "") {
        precondition(
            memory.count == layout.trainableCount || memory.count == layout.totalCount,
            "an arena of \(memory.count) elements for a layout of \(layout.trainableCount) or \(layout.totalCount)")
        self.layout = layout
        self.memory = memory
        self.suffix = suffix
    }

    /// The parameters that lie in this arena.
    private var segments: [ParameterSegment] { layout.segments.filter { $0.range.upperBound <= memory.count } }

    /// Copies of the tensors, in PyTorch's shapes and order.
    public func tensors() -> [NamedTensor] { layout.tensors(from: memory, suffix: suffix) }

    /// Fills `arenas` from `tensors` (PyTorch's shapes and order).
    ///
    /// Every name must be there once with its shape and none may be left over; otherwise nothing is written and the
    /// error lists all that differs.
    public static func fill(_ arenas: [NamedArena], from tensors: [NamedTensor]) throws(TensorMismatch) {
        let targets = arenas.flatMap { arena in arena.segments.map { (arena, $0) } }
        let found = Dictionary(tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let mismatch = TensorMismatch(
            expected: targets.map { ($1.name + $0.suffix, $1.shape, $1.dtype) },
            found: tensors.map { ($0.name, $0.shape, $0.dtype) })
        guard mismatch.isEmpty else { throw mismatch }
        for (arena, segment) in targets {
            segment.take(found[segment.name + arena.suffix]!, into: arena.memory)
        }
    }
}

/// How a set of tensors differs from the one that a model needs: nothing is loaded from it.
public struct TensorMismatch: Error, Hashable, Sendable, CustomStringConvertible {
    /// A tensor of the right name and the wrong shape or type.
    public struct Misshapen: Hashable, Sendable {
        public let name: String
        public let expected: Shape
        public let expectedType: DType
        public let found: Shape
        public let type: DType

        public init(name: String, expected: Shape, expectedType: DType = .float32, found: Shape, type: DType) {
            self.name = name
            self.expected = expected
            self.expectedType = expectedType
            self.found = found
            self.type = type
        }
    }

    /// Needed and not there.
    public private(set) var missing: [String] = []
    /// There and not needed, or there twice.
    public private(set) var unexpected: [String] = []
    /// There, with another shape or type than needed.
    public private(set) var misshapen: [Misshapen] = []

    /// Whether the sets agree.
    public var isEmpty: Bool { missing.isEmpty && unexpected.isEmpty && misshapen.isEmpty }

    public init(missing: [String], unexpected: [String], misshapen: [Misshapen]) {
        self.missing = missing
        self.unexpected = unexpected
        self.misshapen = misshapen
    }

    /// Compares a set with the one that is needed.
    public init(
        expected: [(name: String, shape: Shape, type: DType)], found: [(name: String, shape: Shape, type: DType)]
    ) {
        var remaining: [String: (shape: Shape, type: DType)] = [:]
        for tensor in found where remaining.updateValue((tensor.shape, tensor.type), forKey: tensor.name) != nil {
            unexpected.append(tensor.name)
        }
        for (name, shape, type) in expected {
            guard let tensor = remaining.removeValue(forKey: name) else {
                missing.append(name)
                continue
            }
            if tensor.shape != shape || tensor.type != type {
                misshapen.append(
                    Misshapen(
                        name: name, expected: shape, expectedType: type, found: tensor.shape, type: tensor.type))
            }
        }
        unexpected += remaining.keys.sorted()
    }

    public var description: String {
        func list(_ names: [String]) -> String {
            let shown = names.prefix(10).joined(separator: ", ")
            return names.count > 10 ? "\(shown) and \(names.count - 10) more" : shown
        }
        var parts: [String] = []
        if !missing.isEmpty { parts.append("missing: " + list(missing)) }
        if !unexpected.isEmpty { parts.append("unexpected: " + list(unexpected)) }
        if !misshapen.isEmpty {
            parts.append(
                "misshapen: "
                    + list(
                        misshapen.map {
                            "\($0.name) is \($0.found) \($0.type.rawValue), needs \($0.expected) "
                                + $0.expectedType.rawValue
                        }))
        }
        return parts.joined(separator: "; ")
    }
}

extension NamedTensor {
    /// A copy of the elements as `Element`, which must be the type that `dtype` says.
    ///
    /// It is safe on a temporary, `file.tensor("a").array(of: Float.self)`, where a slice would outlive its memory.
    public func array<Element: BitwiseCopyable>(of type: Element.Type) -> [Element] {
        precondition(MemoryLayout<Element>.stride == dtype.byteCount, "\(name) is \(dtype.rawValue)")
        return withExtendedLifetime(memory) { memory.slice(of: type)[0..<shape.count].array() }
    }
}
