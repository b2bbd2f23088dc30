import DTrainCollectives
import DTrainData
import DTrainEngine
import DTrainTensor

/// The states that streams carry from batch to batch, in the order of the global batch, whatever the number of ranks.
struct CarriedStateTransfer {
    /// What the states are called among an optimizer's tensors.
    static let name = "carried_state"

    private let replica: Replica
    private let batchSize: Int

    init(_ replica: Replica, batchSize: Int) {
        self.replica = replica
        self.batchSize = batchSize
    }

    /// Whether the model carries anything.
    var isNeeded: Bool { replica.carriedStateCount > 0 }
    /// One row a position of the global batch.
    var memory: MemorySlice<Float> { replica.carriedState[0..<batchSize * replica.carriedStateCount] }

    /// Gives every training rank the states of all positions: each has those of its own shards.
    func share(over group: CommunicatorGroup, of queue: CommunicationQueue, accumulation: Int) throws {
        guard isNeeded, group.size > 1 else { return }
        for rank in 0..<group.size {
            let shards = try Shard.ofRank(rank, of: group.size, batchSize: batchSize, accumulation: accumulation)
            let rows = shards[0].offset..<shards.last!.range.upperBound
            let part = memory[
                rows.lowerBound * replica.carriedStateCount..<rows.upperBound * replica.carriedStateCount]
            try queue.run(.broadcast(part.rawBytes, root: rank), in: group)
        }
    }

    /// A copy for a checkpoint.
    static func tensor(_ memory: MemorySlice<Float>, batchSize: Int) -> NamedTensor {
        NamedTensor(name: name, shape: [batchSize, memory.count / batchSize], floats: memory.array())
    }

    /// Takes over what a checkpoint holds, and returns the tensors that are left.
    func take(from tensors: [NamedTensor]) throws(TensorMismatch) -> [NamedTensor] {
        guard isNeeded else { return tensors }
        let shape: Shape = [batchSize, replica.carriedStateCount]
        let (own, others) = (tensors.filter { $0.name == Self.name }, tensors.filter { $0.name != Self.name })
        let mismatch = TensorMismatch(
            expected: [(Self.name, shape, .float32)], found: own.map { ($0.name, $0.shape, $0.dtype) })
        guard mismatch.isEmpty else { throw mismatch }
        memory.copy(from: own[0].memory.slice(of: Float.self)[0..<shape.count])
        return others
    }
}
