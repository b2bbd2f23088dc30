import DTrainCheckpoint
import DTrainTensor

/// A small checkpoint whose every number depends on its step: a convolution with bias, and momentum for both.
public struct SampleCheckpoint {
    public static let layout = ParameterLayout(trainable: [
        ("conv.bias", [3], .plain),
        ("conv.weight", [3, 2, 2, 2], .convolution(outputs: 3, inputs: 2, height: 2, width: 2)),
    ])

    public let state: TrainingState
    /// The arena that the model's tensors come from.
    public let memory: AlignedMemory

    public init(step: Int, best: BestMetric? = nil) {
        state = TrainingState(
            step: step, epoch: step / 50, samplesInEpoch: step % 50 * 8, seed: .max - UInt64(step), batchSize: 8,
            optimizer: "sgd(momentum 0.9, weight decay 0.0)", schedule: "cosine from 0.1",
            model: ModelDescription(name: "sample", options: ["classes": "3"], parameterCount: 27),
            data: DataDescription(specification: "synthetic:4x4x2,3", sampleCount: 400, digest: "d41d"),
            execution: ExecutionDescription(ranks: 2, threadsPerRank: 1, processorFeatures: ["sse2", "avx2"]),
            best: best)
        memory = AlignedMemory(byteCount: Self.layout.totalCount * 4)
        for segment in Self.layout.segments {
            for index in segment.range { arena[index] = Float(step) + Float(index) / 128 }
        }
    }

    public var arena: MemorySlice<Float> { memory.slice()[0..<Self.layout.totalCount] }
    public var model: [NamedTensor] { Self.layout.tensors(from: arena) }
    public var optimizer: [NamedTensor] {
        let scalar = NamedTensor(name: "step", dtype: .int64, shape: [])
        scalar.memory.slice(of: Int64.self)[0] = Int64(state.step)
        return [scalar] + Self.layout.tensors(from: arena, suffix: ".momentum_buffer")
    }

    @discardableResult
    public func save(in store: CheckpointStore) throws(CheckpointError) -> CheckpointStore.Saved {
        try store.save(state, model: model, optimizer: optimizer)
    }

    /// Whether `checkpoint` holds exactly this.
    public func equals(_ checkpoint: Checkpoint) throws -> Bool {
        let loaded = AlignedMemory(byteCount: memory.byteCount)
        let arena: MemorySlice<Float> = loaded.slice()[0..<Self.layout.totalCount]
        try checkpoint.loadModel(into: [NamedArena(Self.layout, arena)])
        let bytes = { (tensor: NamedTensor) in
            withExtendedLifetime(tensor.memory) {
                tensor.memory.slice(of: UInt8.self)[0..<tensor.byteCount].array()
            }
        }
        let optimizer = try checkpoint.optimizerTensors()
        return checkpoint.state == state && arena.array() == self.arena.array()
            && optimizer.map(\.name) == self.optimizer.map(\.name)
            && optimizer.map(bytes) == self.optimizer.map(bytes)
    }
}
