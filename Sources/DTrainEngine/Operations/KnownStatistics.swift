/// The statistics that an earlier batch-norm has measured: its input is the first part of the concatenation that this one
/// reads.
package struct KnownStatistics: Sendable {
    /// Of the earlier one.
    let memory: BatchNormMemory
    /// Where it leaves the step's statistics, in doubles.
    let statistics: Int
}

extension Graph {
    /// The earlier batch-norm that measures the first part of the concatenation that batch-norm `index` measures, as in a dense
    /// block; nil if there is none that uses the statistics alike.
    package func batchNormOfFirstPart(_ index: Int) -> Int? {
        guard let batchNorm = nodes[index].operation as? BatchNorm, batchNorm.measuresAlone,
            case .node(let producer) = values[nodes[index].inputs[0]].source,
            nodes[producer].operation is Concatenation
        else { return nil }
        return nodes[..<index].lastIndex { node in
            guard let earlier = node.operation as? BatchNorm else { return false }
            return node.inputs[0] == nodes[producer].inputs[0] && earlier.measuresAlone
                && earlier.epsilon == batchNorm.epsilon
        }
    }
}

extension BatchNorm {
    /// Whether its statistics are those of the shard alone.
    fileprivate var measuresAlone: Bool { !usesRunningStatistics && !isSynchronised }
}
