import DTrainCollectives
import DTrainEngine
import DTrainModels
import DTrainTensor
import DTrainTrainer
import Testing

@Suite(.timeLimit(.minutes(5)))
struct BenchmarkTests {
    @Test("Compressed gradients are half the bytes")
    func compressed() throws {
        let results = try onEveryRank(2) { queue in
            try GradientCompression.allCases.map {
                try Benchmark(batchSize: 4, steps: 2, warmupSteps: 1).run(
                    TrainingModel("lenet5", module: LeNet5()), input: .values([28, 28, 1]), classes: 10, queue: queue,
                    threads: 1, compression: $0)
            }
        }
        let tail = 5 * 8
        #expect(
            results[0][1].bytesReducedPerStep - tail == (results[0][0].bytesReducedPerStep - tail) / 2)
        #expect(results[0][1].overlap! <= 1 && results[0][1].communicationSeconds > 0)
    }

    @Test(
        "A benchmark counts bytes and operations by the model and gives all ranks the same result", arguments: [1, 3])
    func countsByTheModel(ranks: Int) throws {
        let results = try onEveryRank(ranks) { queue in
            try Benchmark(batchSize: 7, steps: 4, warmupSteps: 1).run(
                TrainingModel("lenet5", module: LeNet5()), input: .values([28, 28, 1]), classes: 10, queue: queue,
                threads: 1,
                allocationCount: queue.rank == 0 ? { 5 } : nil)
        }
        let result = results[0]
        #expect(results.allSatisfy { $0 == result })
        #expect(result.ranks == ranks && result.batchSize == 7 && result.steps == 4 && result.threads == 1)
        // LeNet-5's multiply-adds by hand: two convolutions and three linear layers, forward and both gradients, without
        // the gradient with respect to the samples.
        let first = 28 * 28 * 6 * 25
        let others = 10 * 10 * 16 * 6 * 25 + 400 * 120 + 120 * 84 + 84 * 10
        let operations = 2 * Double(2 * first + 3 * others)
        #expect(abs(result.gflops / (1e-9 * operations * result.itemsPerSecond) - 1) < 1e-9)
        #expect(result.itemsPerSecond == 7 / result.stepSeconds)
        #expect(result.fastestStepSeconds <= result.stepSeconds && result.stepSeconds <= result.slowestStepSeconds)
        let replica = try Replica(LeNet5(), input: [28, 28, 1], capacity: 1, pool: ThreadPool(threadCount: 1))
        // Loss, denominator and three reasons to stop travel along.
        #expect(result.bytesReducedPerStep == (ranks == 1 ? 0 : 4 * replica.layout.trainableCount + 5 * 8))
        #expect((ranks > 1) == (result.communicationExposedSeconds > 0))
        #expect(result.peakResidentByteCount > 1 << 20)
        #expect(result.allocationsPerStep == 0)
    }
}
