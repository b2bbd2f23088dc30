import CAllocationCounter
import DTrainCollectives
import DTrainEngine
import DTrainEvents
import DTrainModels
import DTrainTensor
import DTrainTrainer
import Testing

/// A step allocates nothing on the compute thread, counted by an interposed malloc. What oneDNN allocates in its calls cannot
/// be helped and does not count.
@Suite(.enabled(if: allocation_count() >= 0), .timeLimit(.minutes(5)))
struct AllocationTests {
    /// Takes the count of the compute thread's allocations at the end of each step; allocates nothing itself.
    private final class StepCounter: EventSink, @unchecked Sendable {
        private let memory = AlignedMemory(byteCount: 4096 * MemoryLayout<Int>.stride)
        private var number = 0

        init() { OneDNN.countAllocations { allocation_count() } }

        func receive(_ event: Event) {
            guard case .step = event else { return }
            memory.slice(of: Int.self)[number] = allocation_count() - OneDNN.allocationCount
            number += 1
        }

        /// The allocations between two steps' ends, the first step left out.
        var perStep: [Int] {
            let counts = memory.slice(of: Int.self)[0..<number].array()
            return zip(counts, counts.dropFirst()).map { $1 - $0 }
        }
    }

    /// The allocations of each step after the first, over `steps` steps with neither evaluation nor checkpoint.
    private func allocations(
        ranks: Int, model: String, threads: Int = 1, _ configure: (inout RunConfiguration) -> Void = { _ in }
    ) throws -> [Int] {
        let directory = ScratchDirectory()
        var run = try TestRun(directory, ranks: ranks) {
            $0.steps = 30
            $0.learningRate = 0.001
            configure(&$0)
        }
        run.model = model
        run.threads = threads
        let counter = StepCounter()
        run.sink = counter
        try run.complete()
        withExtendedLifetime(directory) {}
        return counter.perStep
    }

    @Test(
        "No allocation in a step after the first", arguments: ["mlp", "lenet5", "cnn-mnist", "inception-mnist"], [1, 2])
    func noAllocation(model: String, ranks: Int) throws {
        let counts = try allocations(ranks: ranks, model: model)
        #expect(counts.count == 29)
        #expect(counts.allSatisfy { $0 == 0 }, "\(counts)")
    }

    @Test(
        "Nor with threads, accumulation, clipping, a schedule, averaged weights, an uneven batch, and any optimizer",
        arguments: [OptimizerName.adamw, .rmsprop, .adagrad, .lars, .lamb])
    func noAllocationWithEverything(optimizer: OptimizerName) throws {
        let counts = try allocations(ranks: 2, model: "cnn-mnist", threads: 2) {
            $0.accumulate = 3
            $0.batchSize = 23
            $0.clipNorm = 1
            $0.optimizer = optimizer
            $0.weightDecay = 0.01
            $0.decay = .weights
            $0.averageDecay = 0.9
            $0.schedule = .multistep
            $0.milestones = [1, 2]
            $0.warmupEpochs = 0.5
            $0.labelSmoothing = 0.1
            $0.augment = [.permutePixels]
        }
        #expect(counts.allSatisfy { $0 == 0 }, "\(counts)")
    }

    @Test("Nor while a trace is recorded")
    func noAllocationWithATrace() throws {
        let directory = ScratchDirectory()
        let counts = try allocations(ranks: 2, model: "cnn-mnist", threads: 2) {
            $0.trace = directory.path + "/trace.json"
            $0.traceSteps = 1000
        }
        #expect(counts.count == 29 && counts.allSatisfy { $0 == 0 }, "\(counts)")
    }

    @Test("A benchmark counts none either, nor one that times every operation", arguments: [false, true])
    func benchmarkCounts(profiles: Bool) throws {
        let results = try onEveryRank(2) { queue in
            try Benchmark(batchSize: 8, steps: 5, warmupSteps: 1, profiles: profiles).run(
                TrainingModel("cnn-mnist", module: CNNMNIST()), input: .values([28, 28, 1]), classes: 10, queue: queue,
                threads: 1,
                allocationCount: { allocation_count() - OneDNN.allocationCount })
        }
        #expect(results.map(\.allocationsPerStep) == [0, 0])
    }
}
