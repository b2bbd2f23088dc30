internal import DTrainTensor

/// Which values share memory, and for how long each memory is needed.
///
/// A value lies in its own buffer, unless it is a slice of a concatenation (its producer writes there directly) or the
/// output of an operation that works in place. A concatenation may itself be a slice of the next one: the layers of a dense
/// block share one buffer. Gradients follow the same rules in buffers of their own.
struct ValuePlaces {
    /// A value's or gradient's position in a shared buffer.
    struct Slot {
        var buffer: Int
        var channelOffset = 0
        var pixelStride: Int
    }

    private let graph: Graph
    private let consumers: [[Int]]
    private let needsGradient: [Bool]
    private let capacity: Int
    /// How each value, and its gradient, lies in memory.
    private let elements: [Element]

    /// nil for the leaves, which the caller of a run owns.
    private(set) var slots: [Slot?]
    private(set) var gradientSlots: [Slot?]
    private(set) var buffers: [MemoryPlan.Buffer] = []
    /// For reshaped leaves: the leaf whose memory they are.
    private(set) var leafOf: [Graph.Source?]
    /// The values that lie in each buffer.
    private var members: [[Int]] = []
    /// The concatenation that each value is a slice of.
    private var slicedBy: [Int?]

    private var nodeCount: Int { graph.nodes.count }
    private func backwardTime(_ node: Int) -> Int { 2 * nodeCount - 1 - node }

    init(_ graph: Graph, needsGradient: [Bool], capacity: Int, elements: [Element]) {
        self.graph = graph
        self.needsGradient = needsGradient
        self.capacity = capacity
        self.elements = elements
        consumers = graph.consumers()
        slots = [Slot?](repeating: nil, count: graph.values.count)
        gradientSlots = slots
        slicedBy = [Int?](repeating: nil, count: graph.values.count)
        leafOf = graph.values.map { if case .node = $0.source { nil } else { $0.source } }
        for index in graph.nodes.indices { placeOutput(of: index) }
        for node in graph.nodes.reversed() { for value in node.outputs { placeGradient(of: value) } }
        setLifetimes()
    }

    private func channels(_ value: Int) -> Int { graph.values[value].shape.dimensions.last ?? 1 }

    private mutating func newBuffer(for value: Int) -> Slot {
        let rows = graph.values[value].rows == .steps ? capacity * graph.longest : capacity
        buffers.append(
            MemoryPlan.Buffer(
                count: elements[value].floatCount(rows * graph.values[value].shape.count), first: .max, last: .min))
        members.append([])
        return Slot(buffer: buffers.count - 1, pixelStride: channels(value))
    }

    private mutating func placeOutput(of index: Int) {
        let node = graph.nodes[index]
        for state in node.states {
            let slot = newBuffer(for: state)
            slots[state] = slot
            members[slot.buffer].append(state)
        }
        let input = node.inputs[0]
        if node.operation.worksInPlace, !node.operation.changesElements, let leaf = leafOf[input] {
            leafOf[node.output] = leaf
            return
        }
        // What reads a changed output may want its pixels side by side, which those of a slice are not.
        let isSlice = slots[input].map { $0.pixelStride != channels(input) } ?? false
        if node.operation.worksInPlace, let slot = slots[input], mayOverwrite(input, by: index),
            !(isSlice && node.operation.changesElements)
        {
            slots[node.output] = isSlice ? slot : Slot(buffer: slot.buffer, pixelStride: channels(node.output))
            members[slot.buffer].append(node.output)
            return
        }
        let slot = newBuffer(for: node.output)
        slots[node.output] = slot
        members[slot.buffer].append(node.output)
        guard node.operation is Concatenation else { return }
        var channel = 0
        for input in node.inputs {
            if let inner = slots[input], canBeSlice(input, inner, of: index) {
                for member in members[inner.buffer] {
                    slots[member]!.buffer = slot.buffer
                    slots[member]!.channelOffset += channel
                    slots[member]!.pixelStride = slot.pixelStride
                }
                members[slot.buffer] += members[inner.buffer]
                members[inner.buffer] = []
                slicedBy[input] = index
            }
            channel += channels(input)
        }
    }

    /// Whether the buffer that `input` fills can be a slice of the concatenation `index`: all that write or read it can do so
    /// with pixels that lie apart.
    private func canBeSlice(_ input: Int, _ slot: Slot, of index: Int) -> Bool {
        guard slot.pixelStride == channels(input), graph.nodes[index].inputs.filter({ $0 == input }).count == 1
        else { return false }
        return members[slot.buffer].allSatisfy { member in
            guard member != graph.output, case .node(let producer) = graph.values[member].source,
                graph.nodes[producer].operation.writesStridedPixels
            else { return false }
            return consumers[member].allSatisfy { reader in
                let node = graph.nodes[reader]
                return node.inputs.indices.allSatisfy {
                    node.inputs[$0] != member || node.operation.readsStridedPixels(input: $0)
                }
            }
        }
    }

    /// Whether node `index` may put its output where its input lies: nobody else reads that memory afterwards.
    private func mayOverwrite(_ input: Int, by index: Int) -> Bool {
        guard graph.nodes[index].operation.changesElements else { return true }
        return members[slots[input]!.buffer].allSatisfy { member in
            guard member != graph.output, consumers[member].allSatisfy({ $0 <= index }) else { return false }
            guard graph.mode == .training else { return true }
            if case .node(let producer) = graph.values[member].source,
                graph.nodes[producer].operation.backwardReads.contains(.output)
            {
                return false
            }
            return consumers[member].allSatisfy { reader in
                let node = graph.nodes[reader]
                return reader == index
                    || !node.inputs.indices.contains {
                        node.inputs[$0] == member && node.operation.readsBackward(input: $0)
                    }
            }
        }
    }

    private mutating func placeGradient(of value: Int) {
        guard needsGradient[value], gradientSlots[value] == nil, value != graph.loss else { return }
        let readers = consumers[value]
        if readers.count == 1, let outer = gradientSlots[graph.nodes[readers[0]].output] {
            let reader = graph.nodes[readers[0]]
            if reader.operation.gradientWorksInPlace, reader.inputs[0] == value,
                !reader.operation.changesElements || outer.pixelStride == channels(value)
            {
                gradientSlots[value] = Slot(buffer: outer.buffer, pixelStride: channels(value))
                return
            }
        }
        // The last reader goes back first: where it is the concatenation, the others add to the slice of its gradient.
        if let last = readers.max(), slicedBy[value] == last, var outer = gradientSlots[graph.nodes[last].output] {
            outer.channelOffset += slots[value]!.channelOffset - slots[graph.nodes[last].output]!.channelOffset
            gradientSlots[value] = outer
            return
        }
        gradientSlots[value] = newBuffer(for: value)
    }

    /// The clock: node i runs forward at time i and backward at time 2n − 1 − i.
    private mutating func setLifetimes() {
        func extend(_ buffer: Int, _ time: Int) {
            buffers[buffer].first = min(buffers[buffer].first, time)
            buffers[buffer].last = max(buffers[buffer].last, time)
        }
        let training = graph.mode == .training
        for (index, node) in graph.nodes.enumerated() {
            let backward = backwardTime(index)
            let hasBackward = training && Plan.hasBackward(node, needsGradient)
            for state in node.states {
                if let slot = slots[state] { extend(slot.buffer, index) }
                if hasBackward, let slot = gradientSlots[state] { extend(slot.buffer, backward) }
            }
            if let slot = slots[node.output] {
                extend(slot.buffer, index)
                if hasBackward, node.operation.backwardReads.contains(.output) { extend(slot.buffer, backward) }
            }
            for (number, input) in node.inputs.enumerated() {
                guard let slot = slots[input] else { continue }
                extend(slot.buffer, index)
                if hasBackward, node.operation.readsBackward(input: number) { extend(slot.buffer, backward) }
            }
            guard hasBackward else { continue }
            if let slot = gradientSlots[node.output] { extend(slot.buffer, backward) }
            for input in node.inputs { if let slot = gradientSlots[input] { extend(slot.buffer, backward) } }
        }
        // What the caller reads after the run.
        for value in [graph.output, graph.loss].compactMap({ $0 }) {
            if let slot = slots[value] { extend(slot.buffer, 2 * nodeCount) }
        }
    }
}
