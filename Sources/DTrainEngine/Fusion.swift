/// Rewrites of a graph that change neither results nor parameters, only the number of passes through memory.
extension Graph {
    /// Moves an activation into the convolution, linear layer or maximum pooling that alone feeds it.
    func fused() -> Graph {
        var graph = self
        var kept: [Node?] = nodes
        let consumers = consumers()
        for (index, node) in nodes.enumerated() {
            guard let activation = node.operation as? ActivationOperation,
                case .node(let producer) = graph.values[node.inputs[0]].source, var target = kept[producer],
                consumers[node.inputs[0]].count == 1, node.inputs[0] != output,
                let operation = target.operation as? any ActivationFusing,
                let fused = operation.fused(with: activation.activation)
            else { continue }
            target.operation = fused
            target.output = node.output
            kept[producer] = target
            kept[index] = nil
            graph.values[node.output].source = .node(producer)
        }
        graph.renumber(kept)
        return graph
    }

    /// Drops the nodes that neither the loss nor the output depends on.
    func withoutDeadNodes() -> Graph {
        var needed = Set([output, loss].compactMap { $0 })
        var kept: [Node?] = nodes
        for (index, node) in nodes.enumerated().reversed() {
            if needed.contains(node.output) {
                needed.formUnion(node.inputs)
            } else {
                kept[index] = nil
            }
        }
        var graph = self
        graph.renumber(kept)
        return graph
    }

    /// Keeps the nodes that are not nil, and tells their values the new numbers.
    private mutating func renumber(_ kept: [Node?]) {
        nodes = kept.compactMap { $0 }
        for (index, node) in nodes.enumerated() { values[node.output].source = .node(index) }
    }
}

/// An operation that can apply an activation to its own output.
protocol ActivationFusing: Operation {
    /// The operation with the activation inside, or nil if it already has one or cannot have this one.
    func fused(with activation: Activation) -> (any Operation)?
}
