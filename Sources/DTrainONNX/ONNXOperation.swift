import DTrainEngine
import DTrainTensor

/// An operation that can be said in ONNX.
protocol ONNXOperation: Operation {
    /// Writes nodes that compute what the operation does in evaluation, and returns the name of their result.
    func translate(_ place: NodePlace) throws -> String
}

/// Where an operation stands in the graph, and what it reads, in ONNX's terms.
struct NodePlace {
    let writer: GraphWriter
    /// The path of the layer; empty for a function.
    let layer: String
    /// What the operation's own node is called; helpers are called `name/…`.
    let name: String
    let operation: String
    /// The names of the inputs.
    let inputs: [String]
    /// The shapes of one sample in the engine's order, channels last.
    let inputShapes: [Shape]
    let outputShape: Shape
    /// Whether the engine has an input in the order of an image. ONNX's value is in PyTorch's order.
    let readsFlattenedImage: Bool
    let parameterNames: [String]

    var input: String { inputs[0] }
    var inputShape: Shape { inputShapes[0] }

    /// The name of a parameter, which is then written into the file.
    func parameter(_ index: Int) -> String { writer.readParameter(parameterNames[index]) }

    /// Appends a node: the operation's own, or a helper called `name/suffix`.
    func add(
        _ type: String, _ inputs: [String]? = nil, _ attributes: [(String, GraphWriter.Attribute)] = [],
        helper suffix: String? = nil
    ) -> String {
        writer.add(type, inputs ?? self.inputs, nodeName(suffix), attributes)
    }

    /// Adds a vector of integers.
    func constant(_ suffix: String, _ values: [Int]) -> String { writer.constant(nodeName(suffix), values) }
    /// Adds numbers of a shape; an empty one is a single number.
    func constant(_ suffix: String, _ values: [Float], shape: [Int]) -> String {
        writer.constant(nodeName(suffix), values, shape: shape)
    }
    func constant(_ suffix: String, _ value: Float) -> String { constant(suffix, [value], shape: []) }

    private func nodeName(_ suffix: String?) -> String { suffix.map { writer.uniqueName("\(name)/\($0)") } ?? name }

    /// The same elements under another shape, without the batch.
    func reshape(_ value: String, to shape: [Int], helper suffix: String? = nil) -> String {
        // 0 stands for the extent that is there: the batch's.
        let extents = constant("\(suffix.map { $0 + "/" } ?? "")shape", [0] + shape)
        return add("Reshape", [value, extents], helper: suffix)
    }

    func unsupported(_ reason: String) -> ONNXError {
        .unsupported(layer: layer, operation: operation, reason: reason)
    }

    /// Height and width for an image, the width alone for a sequence.
    func spatial(_ pair: Pair) -> [Int] { inputShape.rank == 3 ? [pair.height, pair.width] : [pair.width] }

    /// Throws unless a window that slides over a sequence has no height.
    func requirePlainHeight(_ geometry: WindowGeometry) throws {
        guard inputShape.rank == 3 || (geometry.kernel.height == 1 && geometry.padding.height == 0) else {
            throw unsupported("a window of \(geometry.kernel) slides over a sequence")
        }
    }
}
