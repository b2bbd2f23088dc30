/// What one pass of an operation has to do.
public struct PassCost: Sendable, Equatable, Codable {
    /// Multiply-adds of one sample.
    public var multiplyAdds: Int
    /// Bytes that a perfect kernel moves for one sample, and for the parameters in a whole run.
    public var sampleByteCount: Int
    public var parameterByteCount: Int

    public init(multiplyAdds: Int = 0, sampleByteCount: Int = 0, parameterByteCount: Int = 0) {
        self.multiplyAdds = multiplyAdds
        self.sampleByteCount = sampleByteCount
        self.parameterByteCount = parameterByteCount
    }

    public static func + (one: PassCost, other: PassCost) -> PassCost {
        PassCost(
            multiplyAdds: one.multiplyAdds + other.multiplyAdds,
            sampleByteCount: one.sampleByteCount + other.sampleByteCount,
            parameterByteCount: one.parameterByteCount + other.parameterByteCount)
    }
}

/// An operation of a plan and what it has to do.
///
/// Bytes are counted once each, as if caches held everything that a kernel reads twice. Forward reads inputs and parameters
/// and writes outputs. Backward reads the gradients of the outputs, what it needs of the forward pass (inputs, output) and
/// the parameters, and writes the gradients of inputs and parameters that are needed. What a kernel keeps for its own
/// backward pass, or writes into its workspace, is not counted. Reshaping and concatenation have nothing to move: the plan
/// can put their inputs where the output is.
public struct PlannedOperation: Sendable {
    /// The layer's path (`layer1.0.conv1`); the operation's name for a function.
    public let path: String
    /// What kind it is: `convolution`.
    public let operation: String
    public let forward: PassCost
    /// nil where no gradient comes back.
    public let backward: PassCost?
    /// Whether its products are, or some may be, in bf16.
    public let multipliesBF16: Bool

    /// - Parameters:
    ///   - elements: how each value of the graph lies in memory.
    ///   - site: nil gradients are those that nobody needs.
    init(
        _ graph: Graph, _ node: Graph.Node, _ elements: [Element], _ site: Site,
        hasBackward: Bool
    ) {
        path = node.path.isEmpty ? node.operation.name : node.path
        operation = node.operation.name
        multipliesBF16 =
            switch node.operation {
            case let linear as Linear: linear.product(site.extents).isBF16
            case let recurrent as Recurrent: recurrent.product(site.extents).isBF16
            case let convolution as Convolution: convolution.multipliesBF16(site.extents)
            case let convolution as TransposedConvolution: convolution.multipliesBF16(site.extents)
            default: false
            }
        // A value that is read twice is counted once.
        func byteCount(_ values: [Int]) -> Int {
            Set(values).reduce(0) { sum, index in
                let value = graph.values[index]
                let count = value.shape.count * (value.rows == .steps ? graph.longest : 1)
                return sum + count * elements[index].byteCount
            }
        }
        func byteCount(_ parameters: [Site.Parameter]) -> Int {
            parameters.reduce(0) { $0 + $1.range.count } * MemoryLayout<Float>.stride
        }
        // A batch-norm that leaves normalisation to its reader writes nothing forward, and reads what it has to measure.
        let writesNothing = node.operation is BatchNorm && !node.operation.changesElements
        let moves = writesNothing || node.operation.changesElements && !(node.operation is Concatenation)
        let multiplyAdds =
            node.operation.multiplyAdds(inputs: site.extents.inputs, output: site.extents.output)
            * graph.rowsPerSample(node)
        let known = writesNothing ? site.knownStatistics?.memory.channels ?? 0 : 0
        let read = byteCount(node.inputs) * (site.inputs[0].channels - known) / site.inputs[0].channels
        forward = PassCost(
            multiplyAdds: multiplyAdds,
            sampleByteCount: moves ? read + (writesNothing ? 0 : byteCount(node.outputs)) : 0,
            parameterByteCount: byteCount(site.parameters))
        guard hasBackward else {
            backward = nil
            return
        }
        let trainable = site.parameters.filter(\.isTrainable)
        let needed = zip(node.inputs, site.inputGradients).filter { $1 != nil }.map(\.0)
        let reads = node.operation.backwardReads
        let readAgain =
            node.inputs.indices.filter(node.operation.readsBackward(input:)).map { node.inputs[$0] }
            + (reads.contains(.output) ? [node.output] : [])
        let moved = byteCount(node.outputs) + byteCount(needed) + byteCount(readAgain)
        // An embedding's table inside a recurrent layer is its input.
        let hasTable = (node.operation as? Recurrent)?.embedding != nil && site.parameters.last?.isTrainable == true
        let forWeights = site.parameters.first?.isTrainable == true ? multiplyAdds : 0
        // Other inputs, such as residuals, are added and not multiplied.
        let reachesInput = hasTable || site.inputGradients[0] != nil
        let forInputs: Int
        if let recurrent = node.operation as? Recurrent {
            // Gradients go back through the states even where the input needs none, unless there is one step alone.
            let states = recurrent.stateMultiplyAdds * graph.rowsPerSample(node)
            let goesBack = graph.rowsPerSample(node) > 1 || site.inputGradients.dropFirst().contains { $0 != nil }
            forInputs = (reachesInput ? multiplyAdds - states : 0) + (goesBack ? states : 0)
        } else {
            forInputs = reachesInput ? multiplyAdds : 0
        }
        backward = PassCost(
            multiplyAdds: forWeights + forInputs,
            sampleByteCount: moves ? moved : 0,
            parameterByteCount: (needed.isEmpty && !hasTable ? 0 : byteCount(site.parameters)) + byteCount(trainable))
    }
}
