/// Which of the values that an operation reads and writes may lie in memory as bf16.
package enum StoredElements: Sendable {
    /// None.
    case fp32
    /// All of them or none.
    case alike
    /// The first input for itself; the output, and further inputs as the output.
    case converted
}

extension Graph {
    /// How each value lies in memory while training in bf16: as bf16, like its gradient, where all that write or read it can.
    ///
    /// - Parameter use: what each node can, in the order of the nodes.
    func storedElements(_ use: [StoredElements]) -> [Element] {
        var isBF16 = [Bool](repeating: false, count: values.count)
        for value in nodes.map(\.output) where values[value].rows == .samples && value != output && value != loss {
            isBF16[value] = true
        }
        func agree(_ values: [Int]) -> Bool {
            guard values.contains(where: { isBF16[$0] }), !values.allSatisfy({ isBF16[$0] }) else { return false }
            for value in values { isBF16[value] = false }
            return true
        }
        for (node, use) in zip(nodes, use) {
            for state in node.states { isBF16[state] = false }
            if use == .fp32 { for value in node.inputs + node.outputs { isBF16[value] = false } }
        }
        var changes = true
        while changes {
            changes = false
            for (node, use) in zip(nodes, use) {
                switch use {
                case .fp32: break
                case .alike: changes = agree(node.inputs + [node.output]) || changes
                case .converted: changes = agree(node.inputs.dropFirst() + [node.output]) || changes
                }
            }
        }
        return isBF16.map { $0 ? .bf16 : .fp32 }
    }
}
