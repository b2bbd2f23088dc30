package import DTrainTensor

/// A traced model as data: operations in order, the values between them, and its parameters.
///
/// Shapes are those of one row. For most values a row is a sample: an image is height × width × channels, features a
/// plain count. For a sequence it is one step of one sample, and steps lie packed (`PackedSequences`). The number of
/// samples, and their lengths, come with each run.
package struct Graph: Sendable {
    package struct Node: Sendable {
        package var operation: any Operation
        package var inputs: [Int]
        package var parameters: [Int]
        package var output: Int
        /// Outputs beside it: the final states of a recurrent layer, one row a sample.
        package var states: [Int] = []
        /// The path of the layer that made it; empty for a function such as `flatten`.
        package var path: String
    }

    package enum Source: Hashable, Sendable {
        /// The samples that the loader hands over: fp32, channels last, or int32 tokens.
        case input
        /// One class index a row of the output: int32.
        case labels
        case node(Int)
    }

    /// What a value has one row of.
    package enum Rows: Sendable {
        case samples
        /// The steps of all samples' sequences, packed.
        case steps
    }

    package struct GraphValue: Sendable {
        package let shape: Shape
        package var rows = Rows.samples
        /// For tokens, how many different ones there are; nil for fp32 values.
        package var vocabulary: Int?
        package var source: Source
        /// For flattened image features: the image's shape, as their order is the image's, not PyTorch's.
        package var flattenedImage: Shape?
    }

    package struct Parameter: Sendable {
        /// The dotted path, as in PyTorch's state dictionary.
        package let name: String
        /// PyTorch's shape.
        package let shape: Shape
        package let order: StorageOrder
        package let initializer: Initializer
        package let role: ParameterSegment.Role
        /// `int64` for a counter.
        package let dtype: DType
    }

    package let mode: Mode
    package let input: ModelInput
    package internal(set) var nodes: [Node]
    package internal(set) var values: [GraphValue]
    package let parameters: [Parameter]
    /// What the model returns for a sample.
    package internal(set) var output: Int
    /// The loss of each sample, a shape of one element; nil where none was asked for.
    package internal(set) var loss: Int?
    /// Elements over which the loss of one sample is averaged (1 for cross-entropy).
    package let lossDenominatorPerSample: Int

    /// Indices of the nodes that read each value.
    package func consumers() -> [[Int]] {
        var consumers = [[Int]](repeating: [], count: values.count)
        for (index, node) in nodes.enumerated() { for input in node.inputs { consumers[input].append(index) } }
        return consumers
    }

    /// The flat arena: trainable parameters in the order in which backward finishes their gradients (the last layer first,
    /// a shared one at its first use), then frozen ones, then buffers.
    package func parameterLayout() -> ParameterLayout {
        var ordered: [Int] = []
        var seen = Set<Int>()
        for node in nodes {
            for parameter in node.parameters where seen.insert(parameter).inserted { ordered.append(parameter) }
        }
        func entries(_ role: ParameterSegment.Role) -> [ParameterLayout.Entry] {
            ordered.reversed().map { parameters[$0] }.filter { $0.role == role }.map { ($0.name, $0.shape, $0.order) }
        }
        return ParameterLayout(
            trainable: entries(.trainable), frozen: entries(.frozen),
            buffers: ordered.map { parameters[$0] }.filter { $0.role == .buffer }.map { ($0.name, $0.shape, $0.dtype) })
    }

    /// Multiply-adds of the forward pass for one sample.
    package var multiplyAdds: Int {
        nodes.reduce(0) { total, node in
            total
                + node.operation.multiplyAdds(
                    inputs: node.inputs.map { values[$0].shape }, output: values[node.output].shape)
                * rowsPerSample(node)
        }
    }

    /// The steps of the longest sequence; 1 where the model reads none.
    package var longest: Int { input.longest }

    /// How many rows of the operation's result one sample has at most.
    package func rowsPerSample(_ node: Node) -> Int { values[node.output].rows == .steps ? longest : 1 }

    /// Everything that must be equal on all ranks before they train together, as text: per-sample shapes, operations and
    /// the arena's offsets.
    package var fingerprint: String {
        var lines = nodes.map { node in
            "\(node.path) \(node.operation) \(node.inputs.map { "\(values[$0].shape)" }) \(values[node.output].shape)"
        }
        lines += parameterLayout().segments.map { "\($0.name) \($0.shape) \($0.range) \($0.role)" }
        return lines.joined(separator: "\n")
    }
}

extension Graph.Node {
    /// All that it makes.
    var outputs: [Int] { [output] + states }
}

/// Why a model cannot be traced: a shape does not fit, or a layer has no place in the model.
public struct GraphError: Error, CustomStringConvertible, Sendable {
    /// The dotted path of the layer, or the function's name.
    public let place: String
    public let reason: String

    public var description: String { place.isEmpty ? reason : "\(place): \(reason)" }
}
