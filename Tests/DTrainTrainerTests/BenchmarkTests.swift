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
        let results = try onEveryRank(2, isSpread: true) { queue in
            try GradientCompression.allCases.map {
                try Benchmark(batchSize: 4, steps: 2, warmupSteps: 1).run(
                    TrainingModel("lenet5", module: LeNet5()), input: .values([28, 28, 1]), classes: 10, queue: queue,
                    threads: 1, compression: $0)
            }
        }
        let tail = 5 * 8
        #expect(
            results[0][1].bytesReducedPerStep - tail == (results[0][0].bytesReducedPerStep - tail) / 2)
        #expect((0...1).contains(results[0][1].overlap!) && results[0][1].communicationSeconds > 0)
    }

    @Test("What is hidden is a part of what backward can hide")
    func overlap() {
        #expect(Benchmark.overlap(exposed: 0, communication: 1, backward: 2) == 1)
        #expect(Benchmark.overlap(exposed: 0.25, communication: 1, backward: 0.5) == 0.5)
        #expect(Benchmark.overlap(exposed: 2, communication: 1, backward: 1) == 0)
        #expect(Benchmark.overlap(exposed: 0, communication: 1, backward: 0) == 0)
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
        // Each rank reads the parameters on both ways, but the first layer's on the way back, and writes their gradients.
        let costs = replica.operations.flatMap { [$0.forward, $0.backward].compactMap { $0 } }
        let samples = 7 * costs.reduce(0) { $0 + $1.sampleByteCount }
        #expect(result.bytesMoved == Double(samples + ranks * 4 * (3 * 61_706 - (6 * 25 + 6))))
    }

    @Test("The measured peak is that of the threads' processors, and a fraction is of it")
    func peak() throws {
        let results = try onEveryRank(2) { queue in
            try Benchmark(batchSize: 64, steps: 3).run(
                TrainingModel("mlp", module: MLP()), input: .values([28, 28, 1]), classes: 10, queue: queue, threads: 1)
        }
        let result = results[0]
        #expect(result.peak.gflops > 0 && result.peak.gigabytesPerSecond > 0.1)
        #expect(result.fractionOfPeak == result.gflops / result.peak.gflops)
        #expect(result.fractionOfPeak > 0)
        // Threads that have a hundredth of a processor each reach a hundredth. Others may disturb either measurement.
        let pool = ThreadPool(threadCount: 2)
        let whole = MachinePeak.measure(pool: pool)
        let part = MachinePeak.measure(pool: pool, processors: 0.02)
        #expect(part.gflops < whole.gflops / 10 && part.gigabytesPerSecond < whole.gigabytesPerSecond / 10)
        if Precision.bf16.obstacle == nil {
            #expect(MachinePeak.measure(pool: pool, precision: .bf16).gflops > whole.gflops)
        }
        #expect(result.profile == nil)
    }

    @Test("A profile has each operation once a pass, and its parts add up to the step", arguments: [1, 2])
    func profile(threads: Int) throws {
        let (batchSize, steps) = (6, 5)
        let result = try onEveryRank(1) { queue in
            try Benchmark(batchSize: batchSize, steps: steps, warmupSteps: 1, profiles: true).run(
                TrainingModel("lenet5", module: LeNet5()), input: .values([28, 28, 1]), classes: 10, queue: queue,
                threads: threads)
        }[0]
        let profile = try #require(result.profile)
        let replica = try Replica(
            LeNet5(), input: [28, 28, 1], classes: 10, capacity: 1, pool: ThreadPool(threadCount: 1))

        // conv1 makes no gradient of the samples: half the multiply-adds of the others.
        let paths = ["conv1", "conv2", "fc1", "fc2", "fc3"]
        for (path, count) in zip(paths, [117_600, 240_000, 48_000, 10_080, 840]) {
            for (pass, factor) in [(KernelPass.forward, 1), (.backward, path == "conv1" ? 1 : 2)] {
                let rows = profile.operations.filter { $0.path == path && $0.pass == pass }
                #expect(rows.count == 1)
                let row = try #require(rows.first)
                let operations = row.gflops * 1e9 * row.secondsPerStep
                #expect(abs(operations - Double(2 * factor * count * batchSize)) < 1, "\(path) \(pass)")
            }
        }
        // fc2 by hand: 120 values in, 84 out, their gradients, and the parameters.
        let linear = profile.operations.filter { $0.path == "fc2" }
        let parameters = 120 * 84 + 84
        for row in linear {
            let output = row.operation == "linear" ? 84 : 0
            let values = row.pass == .forward ? 120 + output : 84 + 120 + 120 + 84
            let count = 4 * (values * batchSize + (row.pass == .forward ? 1 : 2) * parameters)
            #expect(abs(row.gigabytesPerSecond * 1e9 * row.secondsPerStep - Double(count)) < 1, "\(row)")
        }
        #expect(
            profile.operations.count
                == replica.operations.count + replica.operations.filter { $0.backward != nil }.count)
        for rows in [profile.operations, profile.kinds, profile.others] {
            #expect(
                rows.allSatisfy { $0.secondsPerStep >= 0 && $0.secondsPerStep <= profile.secondsPerStep }, "\(rows)")
            #expect(zip(rows, rows.dropFirst()).allSatisfy { $0.secondsPerStep >= $1.secondsPerStep })
        }
        func shares(_ rows: [StepProfile.Row]) -> Double { rows.reduce(0) { $0 + $1.share } }
        #expect(abs(shares(profile.operations) + shares(profile.others) - 1) < 1e-9)
        #expect(abs(shares(profile.operations) - shares(profile.kinds)) < 1e-9)
        #expect(Set(profile.others.map(\.operation)) == ["data", "exchange", "optimizer", "rest"])
        #expect(shares(profile.operations) > 0.2)
    }
}
