import DTrainCollectives
import DTrainEngine
import DTrainLayers
import DTrainModels
import DTrainOptimizers
import DTrainTensor
import DTrainTrainer
import Testing

@Suite(.timeLimit(.minutes(5)))
struct TrainingStepTests {
    @Test("Shards are summed in a tree: pairs, pairs of pairs, and what is left over last", arguments: 1...9)
    func treeOrder(count: Int) {
        // Values whose sum depends on the order in which they are added.
        let values: [[Float]] = (0..<count).map { shard in
            let scale: Float = (shard % 2 == 0 ? 1e4 : -1) * Float.pi / Float(shard + 3)
            return (0..<40).map { scale * Float(1 + $0) }
        }
        func tree(_ range: Range<Int>, _ index: Int) -> Float {
            // The largest power of two below the count comes first.
            if range.count == 1 { return values[range.lowerBound][index] }
            var half = 1
            while half * 2 < range.count { half *= 2 }
            let middle = range.lowerBound + half
            return tree(range.lowerBound..<middle, index) + tree(middle..<range.upperBound, index)
        }
        let memory = AlignedMemory(byteCount: 40 * 4)
        let gradients = memory.slice(of: Float.self)[0..<40]
        let sums = GradientTree(gradients: gradients, shardCount: count)
        for _ in 0..<2 {
            for shard in 0..<count {
                for index in 0..<40 { gradients[index] = values[shard][index] }
                if shard < count - 1 { sums.store(shard: shard) }
            }
            sums.addPending(0..<16)
            sums.addPending(16..<40)
            #expect(gradients.array() == (0..<40).map { tree(0..<count, $0) })
        }
    }

    /// A step on one rank over samples that the test chooses.
    private func step(
        _ module: any Module = CNNMNIST(), clip: Double? = nil, rate: Double = 0.1, scaled: Float = 1,
        zeroWeights: Bool = false
    ) throws -> (result: TrainingStep.Result, moved: Double, isUntouched: Bool, norm: Double) {
        let pool = ThreadPool(threadCount: 1)
        let replica = try Replica(module, input: [28, 28, 1], capacity: 4, pool: pool)
        if !zeroWeights { replica.initialize(seed: 1) }
        let optimizer = try Optimizer(.sgd(), layout: replica.layout)
        let queue = try CommunicationQueue { SoloCommunicator() }
        let step = TrainingStep(
            replica: replica, optimizer: optimizer,
            rule: TrainingStep.Rule(
                schedule: Schedule(base: rate), clipNorm: clip, stepsPerEpoch: 1, totalSteps: 1, seed: 0),
            shardCount: 2, queue: queue, group: queue.world, pool: pool, stop: StopFlag())
        let memory = AlignedMemory(byteCount: 4 * 784 * 4)
        let images = memory.slice(of: Float.self)[0..<4 * 784]
        for index in 0..<images.count { images[index] = scaled * (Float(index % 13) / 13) }
        let labelMemory = AlignedMemory(byteCount: 16)
        let labels = labelMemory.slice(of: Int32.self)[0..<4]
        for index in 0..<4 { labels[index] = zeroWeights ? 3 : Int32(index) }
        let before = replica.parameters.array()
        step.begin(step: 0)
        step.add(.values(images[0..<2 * 784]), labels: labels[0..<2], firstPosition: 0)
        step.add(.values(images[2 * 784..<4 * 784]), labels: labels[2..<4], firstPosition: 2)
        let result = try step.finish()
        let norm = GradientNorm(count: replica.gradients.count).norm(of: replica.gradients, scale: 0.25, pool: pool)
        return withExtendedLifetime((memory, labelMemory, queue)) {
            let after = replica.parameters.array()
            return (result, distance(before, after), before == after, norm)
        }
    }

    @Test("The gradient's sum is divided by the samples once: without momentum the parameters move by rate × norm")
    func dividesOnce() throws {
        let (result, moved, _, norm) = try step()
        #expect(result.refusal == nil && result.loss.isFinite && norm > 0)
        #expect(abs(moved - 0.1 * norm) < 1e-4 * moved)
    }

    @Test("Clipping scales the whole gradient to the limit after that division")
    func clips() throws {
        let (result, moved, _, norm) = try step(clip: 0.01)
        #expect(abs(result.gradientNorm - norm) < 1e-9)
        #expect(norm > 0.01)
        #expect(abs(moved - 0.1 * 0.01) < 1e-3 * moved)
    }

    @Test("A loss or a gradient that is not finite leaves the parameters untouched")
    func refuses() throws {
        let loss = try step(scaled: .nan)
        #expect(loss.result.refusal == .loss)
        #expect(loss.isUntouched)
        // Weights of zero give a finite loss of any input; the gradient of the label's row overflows.
        let gradient = try step(OneLayer(), clip: 1, scaled: 3e38, zeroWeights: true)
        #expect(gradient.result.loss.isFinite)
        #expect(gradient.result.refusal == .gradient)
        #expect(gradient.isUntouched)
    }

    private final class OneLayer: Module {
        let fc = Linear(10)
        func callAsFunction(_ x: Value) -> Value { fc(flatten(x)) }
    }

    private func distance(_ first: [Float], _ second: [Float]) -> Double {
        var sum = 0.0
        for index in first.indices {
            let difference = Double(first[index]) - Double(second[index])
            sum += difference * difference
        }
        return sum.squareRoot()
    }
}
