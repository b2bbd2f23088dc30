import DTrainTensor

/// The optimizer's state by name, and the averaged weights in it.
extension Optimizer {
    /// The state as it lies in memory, in the order of its names: for copies and broadcasts between equal layouts.
    package var stateArenas: [MemorySlice<Float>] { states.map { $0[0..<layout.trainableCount] } }

    /// The name of the scalar that goes with the state: the number of updates that made it (I64).
    public static let stepName = "step"

    private var namedStates: [NamedArena] {
        zip(stateNames, states).map { NamedArena(layout, $1, suffix: "." + $0) }
    }

    /// Copies of the state, `conv1.weight.momentum_buffer` in PyTorch's shape and order, and the scalar `step`, the
    /// number of updates made.
    public func stateTensors(step: Int) -> [NamedTensor] {
        let scalar = NamedTensor(name: Self.stepName, dtype: .int64, shape: [])
        scalar.memory.slice(of: Int64.self)[0] = Int64(step)
        return namedStates.flatMap { $0.tensors() } + [scalar]
    }

    /// Takes over the state that `stateTensors` gave, also that of another layout of the same parameters.
    ///
    /// Returns the number of updates that made it. All names and shapes must match; otherwise the state is unchanged.
    @discardableResult
    public func load(_ tensors: [NamedTensor]) throws(TensorMismatch) -> Int {
        let isStep = { (tensor: NamedTensor) in
            tensor.name == Self.stepName && tensor.dtype == .int64 && tensor.shape.rank == 0
        }
        guard let scalar = tensors.first(where: isStep) else {
            throw TensorMismatch(expected: [(Self.stepName, [], .int64)], found: [])
        }
        try NamedArena.fill(namedStates, from: tensors.filter { !isStep($0) })
        return Int(scalar.memory.slice(of: Int64.self)[0])
    }

    /// Runs `body` while `parameters`, the arena that is updated here, holds the averaged weights, and gives it back its
    /// own bit for bit. Without an average it only runs `body`. Nobody else may read or write either meanwhile.
    public func withAveragedWeights<Result>(
        in parameters: MemorySlice<Float>, _ body: () throws -> Result
    ) rethrows -> Result {
        guard averaging != nil else { return try body() }
        swapAverage(parameters)
        defer { swapAverage(parameters) }
        return try body()
    }

    /// Exchanges the trainable part of `parameters` and the average.
    private func swapAverage(_ parameters: MemorySlice<Float>) {
        let average = states.last!.base
        for index in 0..<layout.trainableCount { swap(&parameters.base[index], &average[index]) }
    }
}
