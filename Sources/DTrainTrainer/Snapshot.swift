import DTrainEngine
import DTrainOptimizers
import DTrainTensor

/// A run's state of one step in memory that training does not touch.
final class Snapshot {
    let layout: ParameterLayout
    let parameters: MemorySlice<Float>
    /// Holds the state that the training optimizer had.
    let optimizer: Optimizer
    /// What streams carry, one row a position of the global batch; empty where they carry nothing.
    private let carriedState: MemorySlice<Float>
    private let batchSize: Int
    private let memory: (parameters: AlignedMemory, carriedState: AlignedMemory)?
    /// The residuals of each training rank; none where gradients are not compressed.
    let residuals: [MemorySlice<Float>]
    private let residualMemory: [AlignedMemory]

    /// A snapshot with memory of its own.
    init(of replica: Replica, optimizer: Optimizer, batchSize: Int, residualRanks: Int) throws {
        layout = replica.layout
        self.batchSize = batchSize
        let count = CarriedStateTransfer(replica, batchSize: batchSize).memory.count
        let memory = (
            parameters: AlignedMemory(byteCount: replica.parameters.byteCount),
            carriedState: AlignedMemory(byteCount: count * MemoryLayout<Float>.stride)
        )
        self.memory = memory
        parameters = memory.parameters.slice(of: Float.self)[0..<replica.parameters.count]
        carriedState = memory.carriedState.slice(of: Float.self)[0..<count]
        (residualMemory, residuals) = Self.residuals(ranks: residualRanks, of: layout)
        self.optimizer = try Optimizer(like: optimizer)
    }

    /// The parameters of `replica` and the state of `optimizer` themselves, and memory for residuals: on a rank that does not
    /// train.
    init(holding replica: Replica, optimizer: Optimizer, batchSize: Int, residualRanks: Int) {
        layout = replica.layout
        self.batchSize = batchSize
        carriedState = CarriedStateTransfer(replica, batchSize: batchSize).memory
        memory = nil
        parameters = replica.parameters
        (residualMemory, residuals) = Self.residuals(ranks: residualRanks, of: layout)
        self.optimizer = optimizer
    }

    private static func residuals(
        ranks: Int, of layout: ParameterLayout
    ) -> ([AlignedMemory], [MemorySlice<Float>]) {
        let count = layout.trainableCount
        let memory = (0..<ranks).map { _ in AlignedMemory(byteCount: count * MemoryLayout<Float>.stride) }
        return (memory, memory.map { $0.slice()[0..<count] })
    }

    /// Copies the state of a training rank, without the residuals.
    func take(from replica: Replica, _ optimizer: Optimizer) {
        parameters.copy(from: replica.parameters)
        carriedState.copy(from: CarriedStateTransfer(replica, batchSize: batchSize).memory)
        for (target, source) in zip(self.optimizer.stateArenas, optimizer.stateArenas) { target.copy(from: source) }
    }

    var modelTensors: [NamedTensor] { NamedArena(layout, parameters).tensors() }
    /// The optimizer's state, what streams carry, and residuals.
    func optimizerTensors(step: Int) -> [NamedTensor] {
        optimizer.stateTensors(step: step)
            + (carriedState.count > 0 ? [CarriedStateTransfer.tensor(carriedState, batchSize: batchSize)] : [])
            + GradientResiduals.tensors(of: residuals, layout)
    }
}
