import CAllocationCounter
import DTrainEngine
import DTrainModels
import DTrainOptimizers
import DTrainTensor
import Testing

/// A step allocates nothing on the compute thread once the first is done: gradients, update, evaluation, whatever the
/// number of samples up to the capacity.
@Suite(.enabled(if: allocation_count() >= 0)) struct AllocationTests {
    @Test(arguments: ModelParityTests.models, 1...3)
    func stepsAllocateNothing(_ model: String, threads: Int) throws {
        let capacity = 64
        let pool = ThreadPool(threadCount: threads)
        let entry = try #require(ModelEntry.all.first { $0.name == model })
        let replica = try Replica(
            entry.make(ModelOptions(classes: 10)), input: entry.input, classes: 10, capacity: capacity, pool: pool)
        replica.initialize(seed: 1)
        let optimizer = try Optimizer(.sgd(momentum: 0.9, weightDecay: 1e-4), layout: replica.layout)
        let memory = (
            inputs: AlignedMemory(byteCount: capacity * entry.input.count * 4),
            labels: AlignedMemory(byteCount: capacity * 4)
        )
        let inputs: MemorySlice<Float> = memory.inputs.slice()
        let labels: MemorySlice<Int32> = memory.labels.slice()
        let context = Silent()
        func step(_ number: Int, rows: Int) {
            let samples = Replica.Samples(
                inputs: inputs[0..<rows * entry.input.count], labels: labels[0..<rows], step: number)
            _ = replica.computeGradients(samples, context: context)
            optimizer.update(
                parameters: replica.parameters, gradients: replica.gradients, rate: 0.01,
                gradientScale: 1 / Double(rows), step: number, pool: pool)
            _ = replica.evaluate(samples)
        }
        step(0, rows: capacity)
        let before = allocation_count()
        for (number, rows) in zip(1..., sizes) { step(number, rows: rows) }
        #expect(allocation_count() == before)
        withExtendedLifetime(memory) {}
    }

    private let sizes = [64, 64, 33, 8, 7, 1, 64]

    private final class Silent: StepContext {
        func gradientsReady(_ range: Range<Int>) {}
    }
}
