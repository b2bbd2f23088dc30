/// Rewrites of a graph that change neither results nor parameters, only the number of passes through memory.
extension Graph {
    /// Moves a batch-norm into the convolution that alone feeds it, an activation into what alone feeds it, a sum into the
    /// batch-norm, alone or in a convolution, that alone feeds one side of it, and an embedding into the recurrent layer that alone
    /// reads it.
    ///
    /// - Parameter defersBatchNorms: see `deferBatchNorms`; it pays where the reader's threads share samples.
    func fused(defersBatchNorms: Bool = true) -> Graph {
        var graph = self
        var kept: [Node?] = nodes
        let consumers = consumers()
        /// The node that makes `value`, if `reader` alone reads it.
        func producer(of value: Int) -> (index: Int, node: Node)? {
            guard case .node(let index) = graph.values[value].source, let node = kept[index],
                consumers[value].count == 1, value != output
            else { return nil }
            return (index, node)
        }
        /// Lets `operation` at `producer` do what node `index` did too.
        func merge(
            _ index: Int, into producer: (index: Int, node: Node), _ operation: any Operation, inputs: [Int] = [],
            parameters: [Int] = []
        ) {
            var target = producer.node
            target.operation = operation
            target.inputs += inputs
            target.parameters += parameters
            target.output = nodes[index].output
            kept[producer.index] = target
            kept[index] = nil
            graph.values[target.output].source = .node(producer.index)
        }
        for (index, node) in nodes.enumerated() {
            switch node.operation {
            case let activation as ActivationOperation:
                guard let producer = producer(of: node.inputs[0]),
                    let operation = producer.node.operation as? any ActivationFusing,
                    let fused = operation.fused(with: activation.activation)
                else { continue }
                merge(index, into: producer, fused)
            case is Addition:
                // The side that is computed last has the other one at hand.
                let sides = node.inputs.map(producer(of:))
                let positions = node.inputs.map { value in
                    if case .node(let position) = graph.values[value].source { position } else { -1 }
                }
                let last = positions[0] > positions[1] ? 0 : 1
                guard let producer = sides[last], let operation = producer.node.operation as? any ResidualFusing,
                    let fused = operation.fusedWithResidual()
                else { continue }
                merge(index, into: producer, fused, inputs: [node.inputs[1 - last]])
            case let batchNorm as BatchNorm where batchNorm.usesRunningStatistics == (mode == .evaluation):
                guard let producer = producer(of: node.inputs[0]),
                    let convolution = producer.node.operation as? Convolution,
                    let fused = convolution.folding(batchNorm)
                else { continue }
                merge(index, into: producer, fused, parameters: node.parameters)
            case let recurrent as Recurrent where mode == .training:
                // A batch of two sequences has more rows than such a vocabulary has tokens. Its size itself does not matter: ranks
                // compute alike, however many share it. Evaluation may read a single token.
                guard let producer = producer(of: node.inputs[0]),
                    let embedding = producer.node.operation as? Embedding,
                    embedding.vocabulary <= 2 * rowsPerSample(node)
                else { continue }
                kept[index]!.operation = recurrent.reading(embedding)
                kept[index]!.inputs[0] = producer.node.inputs[0]
                kept[index]!.parameters += producer.node.parameters
                kept[producer.index] = nil
            default: continue
            }
        }
        graph.renumber(kept)
        if defersBatchNorms { graph.deferBatchNorms() }
        return graph
    }

    /// Leaves normalisation to the convolution that alone reads a batch-norm's output: that output is then never written, nor
    /// kept for the way back.
    private mutating func deferBatchNorms() {
        let consumers = consumers()
        for index in nodes.indices {
            let node = nodes[index]
            guard let operation = node.operation as? any BatchNormDeferring, node.output != output,
                consumers[node.output].count == 1,
                let reader = consumers[node.output].first,
                let convolution = nodes[reader].operation as? Convolution, nodes[reader].inputs[0] == node.output,
                let deferred = operation.deferred()
            else { continue }
            // The un-normalised values of a batch-norm for itself are its input's: in the arena, not the caller's.
            if node.operation is BatchNorm {
                guard case .node = values[node.inputs[0]].source else { continue }
            }
            nodes[index].operation = deferred
            nodes[reader].operation = convolution.normalizingInput()
        }
    }

    /// Drops the nodes that neither the loss nor the output depends on.
    func withoutDeadNodes() -> Graph {
        var needed = Set([output, loss].compactMap { $0 })
        var kept: [Node?] = nodes
        for (index, node) in nodes.enumerated().reversed() {
            if node.outputs.contains(where: needed.contains) {
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
        for (index, node) in nodes.enumerated() { for value in node.outputs { values[value].source = .node(index) } }
    }
}

/// An operation that can apply an activation to its own output.
protocol ActivationFusing: Operation {
    /// The operation with the activation inside, or nil if it already has one or cannot have this one.
    func fused(with activation: Activation) -> (any Operation)?
}

/// An operation that can add another value to its own output, before its activation.
protocol ResidualFusing: Operation {
    /// The operation with the addition inside, the other value being one more input; nil if it has one or an activation.
    func fusedWithResidual() -> (any Operation)?
}

/// An operation that normalises its output by the batch's statistics, and can leave that to the output's reader.
protocol BatchNormDeferring: Operation {
    /// The operation without normalisation at the end; nil if it has none, or something is added to its output.
    func deferred() -> (any Operation)?
}
