import DTrainCheckpoint
import DTrainCollectives
import DTrainData
import DTrainEngine
import DTrainEvents
import DTrainModels
import DTrainTensor
import DTrainTrainer
import Foundation
import Glibc
import Testing

/// Evaluations, checkpoints, stops and resumes of a run.
@Suite(.timeLimit(.minutes(5)))
struct RunLifeTests {
    @Test("An evaluation counts every sample exactly once, whatever the number of ranks", arguments: [1, 2, 3, 7, 8])
    func evaluationCountsOnce(ranks: Int) throws {
        for samples in [5, 90] {
            let data = try digits(test: samples)
            let pool = ThreadPool(threadCount: 1)
            func replica(capacity: Int) throws -> Replica {
                let replica = try Replica(CNNMNIST(), input: data.sampleShape, capacity: capacity, pool: pool)
                replica.initialize(seed: 3)
                return replica
            }
            // One sample at a time, straight from the data set.
            let single = try replica(capacity: 1)
            let loader = DataLoader.evaluation(dataset: data.test, rank: 0, rankCount: 1, rows: 1)
            var expected = (loss: 0.0, correct: 0, top5: 0)
            while let batch = try loader.next() {
                let sum = single.evaluate(Replica.Samples(inputs: batch.images, labels: batch.labels))
                expected = (
                    expected.loss + sum.loss.sum, expected.correct + sum.correct, expected.top5 + sum.correctTop5
                )
            }
            let evaluations = try onEveryRank(ranks) { queue in
                let own = try Replica(
                    CNNMNIST(), input: data.sampleShape, capacity: 4, pool: ThreadPool(threadCount: 1))
                own.initialize(seed: 3)
                return try Evaluation.run(own, on: imageFeed(data), queue: queue)
            }
            for evaluation in evaluations {
                #expect(evaluation.samples == samples)
                #expect(evaluation.correct == expected.correct && evaluation.correctTop5 == expected.top5)
                #expect(abs(evaluation.loss - expected.loss / Double(samples)) <= 1e-6 * expected.loss)
                #expect(evaluation.loss == evaluations[0].loss)
            }
        }
    }

    @Test(
        "Cadences count steps, the end adds an evaluation and a checkpoint, the best and the newest stay",
        arguments: [false, true])
    func cadences(dedicated: Bool) throws {
        let directory = ScratchDirectory()
        let run = try TestRun(directory, ranks: 2) {
            $0.steps = 22
            $0.evalEvery = 8
            $0.checkpointEvery = 5
            $0.keep = 2
            $0.coordinator = dedicated ? .dedicated : .inline
        }
        #expect(try run.complete() == .completed(step: 22))
        let evaluations = run.log.evaluations
        #expect(evaluations.map(\.step) == [8, 16, 22])
        #expect(evaluations.allSatisfy { $0.samples == 90 && $0.split == "test" })
        // An evaluation that is the best so far makes a checkpoint of its own.
        var best = (top1: -1.0, step: 0)
        var expected: Set = [5, 10, 15, 20, 22]
        for evaluation in evaluations where evaluation.top1 > best.top1 {
            best = (evaluation.top1, evaluation.step)
            expected.insert(evaluation.step)
        }
        #expect(run.log.checkpoints.map(\.step) == expected.sorted())
        let store = CheckpointStore(run.directory + "/checkpoints")
        #expect(try store.steps() == Set(expected.sorted().suffix(2) + [best.step]).sorted())
        #expect(store.bestStep() == best.step)
        let newest = try #require(try store.newestValid().checkpoint)
        #expect(newest.state.best == BestMetric(name: "top1", value: best.top1, step: best.step))
        #expect(newest.state.epoch == 1 && newest.state.samplesInEpoch == 240)
        let finished = try #require(run.log.finished)
        #expect(finished.step == 22 && finished.samples == 22 * 24 && finished.checkpoint == newest.path)
        #expect(finished.evaluation == evaluations.last)
        #expect(run.log.steps.map(\.step) == Array(1...22))
        let text = try String(contentsOfFile: run.directory + "/config.yaml", encoding: .utf8)
        #expect(text == run.configuration.saved.yaml)
    }

    @Test("An evaluation slower than the stall limit holds the trainers without an error, and the wait is reported")
    func slowCoordinator() throws {
        let directory = ScratchDirectory()
        var run = try TestRun(directory, ranks: 4) {
            $0.steps = 6
            $0.evalEvery = 2
            $0.checkpointEvery = 2
            $0.coordinator = .dedicated
        }
        run.stallSeconds = 0.5
        run.data = DatasetPair(
            specification: .mnistSample, train: run.data.train,
            test: Subset(base: run.data.test, count: 90, readSeconds: 0.02))
        #expect(try run.complete() == .completed(step: 6))
        #expect(run.log.evaluations.map(\.step) == [2, 4, 6])
        let waits = run.log.checkpoints.map(\.waitedSeconds)
        // The first had nothing to wait for; an evaluation takes 1.8 s and two steps take a few milliseconds.
        #expect(waits.count == 3 && waits[0] < 0.3 && waits[1] > 0.5 && waits[2] > 0.5, "\(waits)")
    }

    @Test("By default a run evaluates and saves once an epoch")
    func onceAnEpoch() throws {
        let directory = ScratchDirectory()
        let run = try TestRun(directory) {
            ($0.steps, $0.epochs, $0.evalEvery, $0.checkpointEvery) = (nil, 2, nil, nil)
        }
        #expect(try run.complete() == .completed(step: 24))
        #expect(run.log.evaluations.map(\.step) == [12, 24])
        #expect(run.log.checkpoints.map(\.step) == [12, 24])
        guard case .runStarted(let started)? = run.log.events.first else {
            Issue.record("the first event is not the start")
            return
        }
        #expect(started.stepsPerEpoch == 12 && started.totalSteps == 24 && started.droppedSamples == 12)
    }

    @Test("A stop that any rank is asked for ends all after the same step with a checkpoint", arguments: [0, 1, 2])
    func stopOnAnyRank(rank: Int) throws {
        for dedicated in [false, true] {
            let directory = ScratchDirectory()
            var run = try TestRun(directory, ranks: 3) {
                $0.steps = 1_000_000
                $0.coordinator = dedicated ? .dedicated : .inline
            }
            let stop = run.stops[rank]
            run.log = EventLog { if case .step(let step) = $0, step.step == 4 { stop.request(SIGTERM) } }
            let outcome = try run.complete()
            guard case .stopped(let step, "SIGTERM") = outcome else {
                Issue.record("\(outcome)")
                continue
            }
            let newest = try CheckpointStore(run.directory + "/checkpoints").newestValid().checkpoint
            #expect(newest?.state.step == step)
            #expect(run.log.events.contains(.stopped(RunStopped(step: step, reason: "SIGTERM"))))
            #expect(run.log.finished?.checkpoint == newest?.path)
            #expect(run.log.steps.last?.step == step)
        }
    }

    @Test("A run that is complete is evaluated again, says so, and trains nothing", arguments: [false, true])
    func alreadyComplete(dedicated: Bool) throws {
        let directory = ScratchDirectory()
        func start(resume: ResumeMode) throws -> TestRun {
            try TestRun(directory, ranks: 2) {
                $0.coordinator = dedicated ? .dedicated : .inline
                $0.resume = resume
            }
        }
        let first = try start(resume: .none)
        try first.complete()
        let again = try start(resume: .auto)
        #expect(try again.complete() == .alreadyComplete(step: 6))
        #expect(again.log.steps.isEmpty && again.log.checkpoints.isEmpty)
        #expect(again.log.evaluations.map(\.correct) == first.log.evaluations.map(\.correct))
        #expect(again.log.notices.contains { $0.message.contains("the run is complete: 6 of 6 steps") })
    }

    @Test("Resuming takes the newest valid checkpoint, names the damaged one and puts it aside")
    func damagedCheckpoint() throws {
        let directory = ScratchDirectory()
        func start(steps: Int, resume: ResumeMode) throws -> TestRun {
            try TestRun(directory, ranks: 2) {
                $0.steps = steps
                $0.checkpointEvery = 4
                $0.keep = 1
                $0.resume = resume
            }
        }
        try start(steps: 8, resume: .none).complete()
        // keep 1 has left the best as well only where it is older: make sure that two are there.
        var run = try start(steps: 12, resume: .auto)
        run.configuration.keep = 5
        try run.complete()
        let store = CheckpointStore(run.directory + "/checkpoints")
        let damaged = store.path(step: 12) + "/model.safetensors"
        var bytes = try Data(contentsOf: URL(fileURLWithPath: damaged))
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: URL(fileURLWithPath: damaged))

        let resumed = try start(steps: 10, resume: .auto)
        #expect(try resumed.complete() == .completed(step: 10))
        #expect(resumed.log.steps.map(\.step) == [9, 10])
        #expect(resumed.log.notices.contains { $0.level == .warning && $0.message.contains("is corrupt") })
        // With keep 1 the damaged one, of a later step, must not have pushed the new one out.
        #expect(try store.steps().last == 10)
        #expect(FileManager.default.fileExists(atPath: store.directory + "/abandoned-step-00000012"))
    }

    @Test(
        "Where no checkpoint is valid, resuming is an error of code 4 that lists them; where there is none, it starts")
    func nothingValid() throws {
        let directory = ScratchDirectory()
        func start() throws -> TestRun { try TestRun(directory, ranks: 2) { $0.resume = .auto } }
        let first = try start()
        #expect(try first.complete() == .completed(step: 6))
        #expect(first.log.notices.contains { $0.message.contains("there is no checkpoint") })
        let store = CheckpointStore(first.directory + "/checkpoints")
        for step in try store.steps() {
            try FileManager.default.removeItem(atPath: store.path(step: step) + "/state.json")
        }
        for result in try start()() {
            let failure = #expect(throws: SharedFailure.self) { try result.get() }
            #expect(failure?.exitCode == 4 && failure?.description.contains("no valid checkpoint") == true)
        }
    }

    @Test(
        "A checkpoint of another model or batch is not continued",
        arguments: ["model", "batch size", "seed", "schedule"])
    func otherCheckpoint(what: String) throws {
        let directory = ScratchDirectory()
        try TestRun(directory).complete()
        var run = try TestRun(directory) {
            $0.resume = .auto
            switch what {
            case "batch size": $0.batchSize = 30
            case "seed": $0.seed = 8
            case "schedule": $0.schedule = .cosine
            default: break
            }
        }
        if what == "model" { run.model = "lenet5" }
        let failure = #expect(throws: SharedFailure.self) { try run()[0].get() }
        #expect(failure?.exitCode == 2 && failure?.description.contains("was written with \(what) '") == true)
    }

    @Test("--init starts every rank from the given weights; a file of another model is an error of code 4")
    func initialWeights() throws {
        let (first, second) = (ScratchDirectory(), ScratchDirectory())
        let source = try TestRun(first, ranks: 2)
        try source.complete()
        let weights = CheckpointStore(source.directory + "/checkpoints").path(step: 6) + "/model.safetensors"
        var run = try TestRun(second, ranks: 2) {
            $0.initialWeights = weights
            $0.learningRate = 0
            $0.steps = 1
        }
        try run.complete()
        #expect(try run.modelBytes(step: 1) == source.modelBytes(step: 6))
        run.directory = first.path + "/other"
        run.model = "lenet5"
        for result in run() {
            let failure = #expect(throws: SharedFailure.self) { try result.get() }
            #expect(failure?.exitCode == 4 && failure?.description.contains("missing: ") == true)
        }
    }
}
