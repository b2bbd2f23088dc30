import DTrainEngine
import DTrainOptimizers
import DTrainTensor

/// A run's state of one step in memory that training does not touch.
final class Snapshot {
    let layout: ParameterLayout
    let parameters: MemorySlice<Float>
    /// Holds the state that the training optimizer had.
    let optimizer: Optimizer
    private let memory: AlignedMemory?

    /// A snapshot with memory of its own.
    init(of replica: Replica, optimizer: Optimizer) throws {
        layout = replica.layout
        let memory = AlignedMemory(byteCount: replica.parameters.byteCount)
        self.memory = memory
        parameters = memory.slice(of: Float.self)[0..<replica.parameters.count]
        self.optimizer = try Optimizer(like: optimizer)
    }

    /// The parameters of `replica` and the state of `optimizer` themselves: on a rank that does not train.
    init(holding replica: Replica, optimizer: Optimizer) {
        layout = replica.layout
        memory = nil
        parameters = replica.parameters
        self.optimizer = optimizer
    }

    /// Copies the state of a training rank.
    func take(from replica: Replica, _ optimizer: Optimizer) {
        parameters.copy(from: replica.parameters)
        for (target, source) in zip(self.optimizer.stateArenas, optimizer.stateArenas) { target.copy(from: source) }
    }

    var modelTensors: [NamedTensor] { NamedArena(layout, parameters).tensors() }
    func optimizerTensors(step: Int) -> [NamedTensor] { optimizer.stateTensors(step: step) }
}
