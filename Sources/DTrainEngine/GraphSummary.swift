public import DTrainTensor

/// A model as a table: one row per operation that people would draw.
public struct LayerSummary: Sendable {
    /// The layer's path, or the function's name.
    public let name: String
    public let operation: String
    public let outputShape: Shape
    /// Parameters that this row owns (a shared one is counted at its first use).
    public let parameterCount: Int
    public let multiplyAdds: Int
    /// Input pixels, along the width, that one output pixel depends on; nil where pixels are gone.
    public let receptiveField: Int?
}

/// Describes what `model` does to a sample of this kind. Throws `GraphError` where a shape does not fit.
public func summarize(_ model: any Module, input: ModelInput) throws -> [LayerSummary] {
    let graph = try Graph.trace(model, input: input, TraceOptions(.evaluation))
    /// Per value: the receptive field, and the distance in input pixels of two neighbouring pixels.
    var fields: [(size: Int, step: Int)?] = graph.values.map { $0.shape.rank > 1 ? (1, 1) : nil }
    var counted = Set<Int>()
    return graph.nodes.map { node in
        let shape = graph.values[node.output].shape
        let inputs = node.inputs.compactMap { fields[$0] }
        if shape.rank > 1, let step = inputs.map(\.step).max(), let size = inputs.map(\.size).max() {
            let window = node.operation.window
            fields[node.output] = (size + (window.kernel - 1) * step, step * window.stride)
        } else {
            fields[node.output] = nil
        }
        let owned = node.parameters.filter { counted.insert($0).inserted }
        return LayerSummary(
            name: node.path.isEmpty ? node.operation.name : node.path, operation: node.operation.name,
            outputShape: graph.values[node.output].rows == .steps ? Shape([graph.longest] + shape.dimensions) : shape,
            parameterCount: owned.reduce(0) { count, index in
                let parameter = graph.parameters[index]
                return count + (parameter.role == .buffer ? 0 : parameter.shape.count)
            },
            multiplyAdds: node.operation.multiplyAdds(
                inputs: node.inputs.map { graph.values[$0].shape }, output: shape) * graph.rowsPerSample(node),
            receptiveField: fields[node.output]?.size)
    }
}

/// The same for a model that reads samples of this shape.
public func summarize(_ model: any Module, input: Shape) throws -> [LayerSummary] {
    try summarize(model, input: .values(input))
}

/// How large a model is.
public struct ModelSize: Sendable {
    /// All parameters that training has, those of auxiliary classifiers included; no buffers.
    public let parameterCount: Int
    /// Multiply-adds of one sample's forward pass in evaluation.
    public let multiplyAdds: Int
}

/// Counts what `model` has and does for a sample of this kind. Throws `GraphError` where a shape does not fit.
public func modelSize(_ model: any Module, input: ModelInput) throws -> ModelSize {
    let training = try Graph.trace(model, input: input, TraceOptions(.training))
    let evaluation = try Graph.trace(model, input: input, TraceOptions(.evaluation))
    return ModelSize(
        parameterCount: training.parameters.reduce(0) { $0 + ($1.role == .buffer ? 0 : $1.shape.count) },
        multiplyAdds: evaluation.multiplyAdds)
}

/// The same for a model that reads samples of this shape.
public func modelSize(_ model: any Module, input: Shape) throws -> ModelSize {
    try modelSize(model, input: .values(input))
}
