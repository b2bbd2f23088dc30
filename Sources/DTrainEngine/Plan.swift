public import DTrainTensor

/// A graph compiled for a capacity: operations fused and ordered, every value, gradient and workspace at its place in
/// one arena, every kernel chosen. Runs any number of samples up to the capacity without allocating.
package final class Plan {
    package let graph: Graph
    package let capacity: Int
    /// The arena this plan needs, in floats; the plans of a model share one.
    package let arenaCount: Int
    /// The most floats that are alive at any moment of a run.
    package let arenaLowerBound: Int

    /// How each value of the graph, and its gradient, lies in memory.
    package let elements: [Element]
    /// What each operation has to do, in the order of the forward pass.
    package let operations: [PlannedOperation]
    /// The doubles that a training run leaves for the running statistics, and the batch-norms they belong to.
    package let statisticsCount: Int
    /// Floats of one stream's state that runs carry from batch to batch.
    package let carriedStateCount: Int
    let runningStatistics: [RunningStatistics]

    private let kernels: [any Kernel]
    /// Nodes with a backward pass, last first, each with the parameter range whose gradient is then final.
    private let backwardOrder: [(node: Int, ready: Range<Int>)]
    let outputPlace: Place
    let lossPlace: Place?

    /// Compiles `graph`. `layout` is the arena of the model's parameters, by name; every parameter of the graph is in it.
    package init(
        _ graph: Graph, layout: ParameterLayout, capacity: Int, threads: Int, precision: Precision = .fp32
    ) {
        // Readers normalise whole samples, a block at a time in the cache; fewer are shared out by lines.
        let graph = graph.fused(defersBatchNorms: capacity >= 2 * threads).withoutDeadNodes()
        self.graph = graph
        self.capacity = capacity

        let needsGradient = Self.valuesWithGradient(graph)
        let nodeCount = graph.nodes.count
        var extents = graph.nodes.map { node in
            Extents(
                inputs: node.inputs.map { graph.values[$0].shape }, output: graph.values[node.output].shape,
                samples: capacity, rows: capacity * graph.rowsPerSample(node), longest: graph.longest,
                threads: threads, training: graph.mode == .training,
                // What a run reports of an evaluation is what `evaluate` finds later, on any processor.
                precision: graph.mode == .training ? precision : .fp32,
                inputElements: node.inputs.map { _ in .fp32 }, outputElement: .fp32)
        }
        // Only training stores bf16: an evaluation's precision is fp32.
        let stored = zip(graph.nodes, extents).map { $1.precision == .bf16 ? $0.operation.storedElements($1) : .fp32 }
        let elements = graph.storedElements(stored)
        self.elements = elements
        for (index, node) in graph.nodes.enumerated() {
            extents[index].inputElements = node.inputs.map { elements[$0] }
            extents[index].outputElement = elements[node.output]
        }
        let places = ValuePlaces(graph, needsGradient: needsGradient, capacity: capacity, elements: elements)
        var buffers = places.buffers
        var scratch: [(saved: Int, forward: Int, backward: Int)] = []
        for (index, node) in graph.nodes.enumerated() {
            let need = node.operation.memory(extents[index])
            let end = graph.mode == .training ? 2 * nodeCount - 1 - index : index
            scratch.append((buffers.count, buffers.count + 1, buffers.count + 2))
            buffers.append(MemoryPlan.Buffer(count: need.saved, first: index, last: end))
            buffers.append(MemoryPlan.Buffer(count: need.forwardWorkspace, first: index, last: index))
            buffers.append(
                MemoryPlan.Buffer(
                    count: graph.mode == .training ? need.backwardWorkspace : 0, first: end, last: end))
        }
        let memory = MemoryPlan(buffers)
        arenaCount = memory.count
        arenaLowerBound = memory.lowerBound

        func place(_ value: Int, _ slot: ValuePlaces.Slot?) -> Place {
            let shape = graph.values[value].shape
            let rows = graph.values[value].rows
            if let slot {
                let floats = memory.offsets[slot.buffer] * MemoryLayout<Float>.stride
                return Place(
                    memory: .arena(floats + slot.channelOffset * elements[value].byteCount), shape: shape,
                    pixelStride: slot.pixelStride, rows: rows, element: elements[value])
            }
            return Place(
                memory: places.leafOf[value] == .labels ? .labels : .input, shape: shape,
                pixelStride: shape.dimensions.last ?? 1, rows: rows, element: .fp32)
        }

        let segments = Dictionary(uniqueKeysWithValues: layout.segments.map { ($0.name, $0) })
        let ranges = graph.parameters.map { segments[$0.name]!.range }
        var statisticsCount = 0
        let statistics = graph.nodes.indices.map { index in
            defer { statisticsCount += graph.nodes[index].operation.stepStatistics(extents[index].inputs) }
            return statisticsCount
        }
        self.statisticsCount = statisticsCount
        var carriedStateCount = 0
        let carried = graph.nodes.map { node in
            defer { carriedStateCount += node.operation.carriedStateCount }
            return carriedStateCount
        }
        self.carriedStateCount = carriedStateCount
        /// The memory of a batch-norm that node `index` is, or has inside.
        func batchNormMemory(_ index: Int) -> BatchNormMemory {
            BatchNormMemory(
                channels: graph.values[graph.nodes[index].output].shape.dimensions.last!, threads: threads,
                start: memory.offsets[scratch[index].saved])
        }
        /// The batch-norm before `node` that left normalisation to it.
        func inputBatchNorm(_ node: Graph.Node) -> DeferredBatchNorm? {
            guard case .node(let producer) = graph.values[node.inputs[0]].source,
                let batchNorm = graph.nodes[producer].operation.measuredBatchNorm, batchNorm.isDeferred
            else { return nil }
            return DeferredBatchNorm(memory: batchNormMemory(producer), appliesReLU: batchNorm.appliesReLU)
        }
        var written = [Bool](repeating: false, count: graph.values.count)
        var parameterWritten = [Bool](repeating: false, count: graph.parameters.count)
        var sites = [Site?](repeating: nil, count: nodeCount)
        for (index, node) in graph.nodes.enumerated().reversed() {
            let hasBackward = Self.hasBackward(node, needsGradient)
            let gradients: [Site.Gradient?] = node.inputs.map { input in
                guard hasBackward, needsGradient[input], let slot = places.gradientSlots[input] else { return nil }
                defer { written[input] = true }
                return Site.Gradient(place: place(input, slot), accumulate: written[input])
            }
            let parameters = node.parameters.map { parameter in
                defer { parameterWritten[parameter] = true }
                return Site.Parameter(
                    range: ranges[parameter], accumulate: parameterWritten[parameter],
                    isTrainable: segments[graph.parameters[parameter].name]!.role == .trainable)
            }
            sites[index] = Site(
                inputs: node.inputs.map { place($0, places.slots[$0]) },
                inputBatchNorm: inputBatchNorm(node),
                knownStatistics: graph.batchNormOfFirstPart(index).map {
                    KnownStatistics(memory: batchNormMemory($0), statistics: statistics[$0])
                },
                output: place(node.output, places.slots[node.output]),
                inputGradients: gradients,
                outputGradient: places.gradientSlots[node.output].map { place(node.output, $0) },
                states: node.states.map { place($0, places.slots[$0]) },
                stateGradients: node.states.map { state in places.gradientSlots[state].map { place(state, $0) } },
                parameters: parameters,
                saved: memory.offsets[scratch[index].saved], forwardWorkspace: memory.offsets[scratch[index].forward],
                backwardWorkspace: memory.offsets[scratch[index].backward], statistics: statistics[index],
                carriedState: carried[index],
                extents: extents[index], index: index)
        }
        operations = graph.nodes.indices.map { index in
            let node = graph.nodes[index]
            return PlannedOperation(
                graph, node, elements, sites[index]!, hasBackward: Self.hasBackward(node, needsGradient))
        }
        runningStatistics = graph.nodes.indices.compactMap { index in
            graph.nodes[index].operation.measuredBatchNorm.map { RunningStatistics($0, sites[index]!) }
        }
        kernels = graph.nodes.indices.map { graph.nodes[$0].operation.kernel(sites[$0]!) }
        backwardOrder =
            graph.mode == .training
            ? Self.backwardOrder(graph, needsGradient: needsGradient, ranges: ranges, layout: layout) : []
        outputPlace = place(graph.output, places.slots[graph.output])
        lossPlace = graph.loss.map { place($0, places.slots[$0]) }
    }

    /// Values between a parameter and the loss.
    private static func valuesWithGradient(_ graph: Graph) -> [Bool] {
        var needed = [Bool](repeating: false, count: graph.values.count)
        guard graph.mode == .training, let loss = graph.loss else { return needed }
        for node in graph.nodes {
            let isNeeded =
                node.parameters.contains { graph.parameters[$0].role == .trainable }
                || node.inputs.contains { needed[$0] }
            for value in node.outputs { needed[value] = isNeeded }
        }
        var reached = [Bool](repeating: false, count: graph.values.count)
        reached[loss] = true
        for node in graph.nodes.reversed() where node.outputs.contains(where: { reached[$0] }) {
            for input in node.inputs { reached[input] = true }
        }
        return zip(needed, reached).map { $0 && $1 }
    }

    /// Whether a gradient comes back to any of the node's results.
    static func hasBackward(_ node: Graph.Node, _ needsGradient: [Bool]) -> Bool {
        node.outputs.contains { needsGradient[$0] }
    }

    /// The backward passes in order. The arena is laid out so that the finished part grows from its start; padding
    /// belongs to the segment before it.
    private static func backwardOrder(
        _ graph: Graph, needsGradient: [Bool], ranges: [Range<Int>], layout: ParameterLayout
    ) -> [(node: Int, ready: Range<Int>)] {
        // The gradient of a parameter that no node reads stays zero: it is final from the start.
        var finishedAt = [Int](repeating: graph.nodes.count, count: graph.parameters.count)
        for (index, node) in graph.nodes.enumerated().reversed() {
            for parameter in node.parameters { finishedAt[parameter] = index }
        }
        let trainable = ranges.indices.filter { graph.parameters[$0].role == .trainable }
        let pending = trainable.sorted { ranges[$0].lowerBound < ranges[$1].lowerBound }
        var next = 0
        var finished = 0
        var order: [(node: Int, ready: Range<Int>)] = []
        for index in graph.nodes.indices.reversed() where hasBackward(graph.nodes[index], needsGradient) {
            let start = finished
            while next < pending.count, finishedAt[pending[next]] >= index {
                next += 1
                finished = next < pending.count ? ranges[pending[next]].lowerBound : layout.trainableCount
            }
            order.append((index, start..<finished))
        }
        return order
    }

    /// What all operations have to do, forward and backward: products are forward, weight gradients, and those input gradients that
    /// are needed.
    package var cost: PassCost {
        operations.reduce(PassCost()) { $0 + $1.forward + ($1.backward ?? PassCost()) }
    }

    /// Computes every value. Every thread calls it with its own `run`.
    func forward(_ run: Run) {
        for node in kernels.indices {
            let start = run.startTime
            kernels[node].forward(run)
            run.ran(node, .forward, since: start)
            run.meet()
        }
    }

    /// Computes every gradient; thread 0 tells the run's context which part of the gradient arena is final, from its start
    /// onward.
    func backward(_ run: Run) {
        for (node, ready) in backwardOrder {
            let start = run.startTime
            kernels[node].backward(run)
            run.ran(node, .backward, since: start)
            run.meet()
            if run.thread == 0, !ready.isEmpty { run.context?.gradientsReady(ready) }
        }
    }
}

/// What a plan tells, and asks of, whoever trains with other ranks, while it runs. The engine knows nothing of ranks.
public protocol StepContext: AnyObject {
    /// Replaces `values` by their sums over all ranks that train, which call it in the same order. An error is the
    /// context's to keep until the step ends: kernels cannot throw.
    func sum(_ values: MemorySlice<Double>)
    /// The gradients of this part of the arena are final for this run. Parts come in order and leave no gap.
    func gradientsReady(_ range: Range<Int>)
}

extension StepContext {
    /// One rank alone: the values are the sums.
    public func sum(_ values: MemorySlice<Double>) {}
}
