import DTrainCheckpoint
import DTrainEvents
import DTrainLayers
import DTrainTrainer
import Foundation
import Glibc
import Testing

/// The same ranks give the same bits: twice, interrupted and resumed, with either coordinator.
@Suite(.timeLimit(.minutes(5)))
struct SameBitsTests {
    /// 300 samples in batches of 24 make 12 steps an epoch: step 30 lies in the middle of the third.
    private func run(
        _ directory: ScratchDirectory, trainers: Int = 3, steps: Int, dedicated: Bool = false, resume: Bool = false,
        _ configure: (inout RunConfiguration) -> Void = { _ in }
    ) throws -> TestRun {
        try TestRun(directory, ranks: dedicated ? trainers + 1 : trainers) {
            $0.steps = steps
            $0.coordinator = dedicated ? .dedicated : .inline
            $0.resume = resume ? .auto : .none
            $0.evalEvery = 7
            $0.checkpointEvery = 10
            configure(&$0)
        }
    }

    @Test("The same ranks twice give the same model.safetensors")
    func twice() throws {
        let (first, second) = (ScratchDirectory(), ScratchDirectory())
        let runs = [try run(first, steps: 30), try run(second, steps: 30)]
        for run in runs { try run.complete() }
        #expect(try runs[0].modelBytes(step: 30) == runs[1].modelBytes(step: 30))
        #expect(runs[0].log.losses == runs[1].log.losses)
    }

    @Test("As many trainers with a dedicated coordinator as inline give the same model.safetensors")
    func dedicatedIsInline() throws {
        let (first, second) = (ScratchDirectory(), ScratchDirectory())
        let inline = try run(first, steps: 24)
        let dedicated = try run(second, steps: 24, dedicated: true)
        try inline.complete()
        try dedicated.complete()
        #expect(try inline.modelBytes(step: 24) == dedicated.modelBytes(step: 24))
        #expect(inline.log.losses == dedicated.log.losses)
        #expect(inline.log.evaluations.map(\.correct) == dedicated.log.evaluations.map(\.correct))
        #expect(inline.log.evaluations.map(\.step) == [7, 14, 21, 24])
        #expect(inline.log.checkpoints.map(\.step) == dedicated.log.checkpoints.map(\.step))
        #expect(inline.log.checkpoints.map(\.best) == dedicated.log.checkpoints.map(\.best))
    }

    @Test(
        "60 steps, and 30, a resume in mid-epoch and 30 more, give the same model.safetensors",
        arguments: [false, true], [OptimizerName.sgd, .adam])
    func resumedInMidEpoch(dedicated: Bool, optimizer: OptimizerName) throws {
        let configure: (inout RunConfiguration) -> Void = {
            $0.optimizer = optimizer
            if optimizer == .adam { $0.learningRate = 0.002 }
        }
        let (whole, parts) = (ScratchDirectory(), ScratchDirectory())
        let uninterrupted = try run(whole, trainers: 2, steps: 60, dedicated: dedicated, configure)
        try uninterrupted.complete()
        try run(parts, trainers: 2, steps: 30, dedicated: dedicated, configure).complete()
        let resumed = try run(parts, trainers: 2, steps: 60, dedicated: dedicated, resume: true, configure)
        try resumed.complete()
        #expect(resumed.log.steps.first?.step == 31)
        #expect(resumed.log.losses == Array(uninterrupted.log.losses[30...]))
        #expect(try uninterrupted.modelBytes(step: 60) == resumed.modelBytes(step: 60))
        #expect(resumed.log.notices.isEmpty)
    }

    @Test("With compressed gradients, resumed in mid-epoch: the same model.safetensors", arguments: [false, true])
    func resumedCompressed(dedicated: Bool) throws {
        let configure: (inout RunConfiguration) -> Void = { $0.compression = .bf16 }
        let (whole, parts) = (ScratchDirectory(), ScratchDirectory())
        let uninterrupted = try run(whole, steps: 40, dedicated: dedicated, configure)
        try uninterrupted.complete()
        try run(parts, steps: 20, dedicated: dedicated, configure).complete()
        // The other coordinator keeps the residuals in the same way.
        let resumed = try run(parts, steps: 40, dedicated: !dedicated, resume: true, configure)
        try resumed.complete()
        #expect(resumed.log.losses == Array(uninterrupted.log.losses[20...]))
        #expect(try uninterrupted.modelBytes(step: 40) == resumed.modelBytes(step: 40))
        #expect(resumed.log.notices.isEmpty)
        let plain = ScratchDirectory()
        let exact = try run(plain, steps: 40)
        try exact.complete()
        #expect(exact.log.losses != uninterrupted.log.losses)
        // Before rounding has grown into another course.
        expectSameCurve(Array(uninterrupted.log.losses[..<8]), Array(exact.log.losses[..<8]), relative: 0.01)
    }

    @Test("Compressed, 4 ranks go on as 2 or as 1, which has nothing to compress", arguments: [2, 1])
    func fewerRanksCompressed(ranks: Int) throws {
        let configure: (inout RunConfiguration) -> Void = { $0.compression = .bf16 }
        let directory = ScratchDirectory()
        let first = try run(directory, trainers: 4, steps: 10, configure)
        try first.complete()
        let second = try run(directory, trainers: ranks, steps: 12, resume: true, configure)
        try second.complete()
        func residualNames(step: Int) throws -> [String] {
            let store = CheckpointStore(first.directory + "/checkpoints")
            return try Checkpoint(store.path(step: step)).optimizerTensors().map(\.name)
                .filter { $0.hasPrefix("conv1.weight.residual") }.sorted()
        }
        #expect(try residualNames(step: 10) == (0..<4).map { "conv1.weight.residual.\($0)" })
        #expect(try residualNames(step: 12) == (0..<(ranks == 1 ? 0 : ranks)).map { "conv1.weight.residual.\($0)" })
        let remark =
            "--compress has no effect: all ranks that train are on one host, and none rounds its gradients; "
            + "what rounding has left out before is dropped"
        #expect(second.log.notices.contains { $0.message == remark } == (ranks == 1))
    }

    @Test("On one host nothing is compressed, and a run says so")
    func compressedOnOneHost() throws {
        let (plain, compressed) = (ScratchDirectory(), ScratchDirectory())
        let exact = try run(plain, steps: 10)
        try exact.complete()
        var onOneHost = try run(compressed, steps: 10) { $0.compression = .bf16 }
        onOneHost.isSpread = false
        try onOneHost.complete()
        #expect(onOneHost.log.losses == exact.log.losses)
        #expect(
            onOneHost.log.notices.contains { $0.message.hasPrefix("--compress has no effect: all ranks that train") })
    }

    @Test(
        "With dropout, accumulation, clipping and Nesterov momentum, resumed in mid-epoch: the same model.safetensors")
    func resumedWithEverything() throws {
        final class WithDropout: Module {
            let fc1 = Linear(32)
            let fc2 = Linear(10)
            let dropout = Dropout(0.5)
            func callAsFunction(_ x: Value) -> Value { fc2(dropout(relu(fc1(flatten(x))))) }
        }
        func part(_ directory: ScratchDirectory, steps: Int, resume: Bool = false) throws -> TestRun {
            var part = try run(directory, trainers: 2, steps: steps, resume: resume) {
                $0.momentum = 0.8
                $0.nesterov = true
                $0.clipNorm = 0.5
                $0.accumulate = 3
            }
            part.module = { WithDropout() }
            try part.complete()
            return part
        }
        let (whole, parts) = (ScratchDirectory(), ScratchDirectory())
        let uninterrupted = try part(whole, steps: 31)
        _ = try part(parts, steps: 17)
        let resumed = try part(parts, steps: 31, resume: true)
        #expect(resumed.log.losses == Array(uninterrupted.log.losses[17...]))
        #expect(try uninterrupted.modelBytes(step: 31) == resumed.modelBytes(step: 31))
        #expect(uninterrupted.log.evaluations.last?.correct == resumed.log.evaluations.last?.correct)
    }

    @Test("A checkpoint written while training went on is that of a run which ends there", arguments: [false, true])
    func checkpointOfTheMiddle(dedicated: Bool) throws {
        let (long, short) = (ScratchDirectory(), ScratchDirectory())
        var whole = try run(long, trainers: 2, steps: 24, dedicated: dedicated) {
            $0.checkpointEvery = 2
            $0.keep = 20
        }
        whole.model = "mlp"
        try whole.complete()
        var part = try run(short, trainers: 2, steps: 10)
        part.model = "mlp"
        try part.complete()
        #expect(try whole.modelBytes(step: 10) == part.modelBytes(step: 10))
    }

    @Test("Resumed at the end of an epoch: the same model.safetensors")
    func resumedBetweenEpochs() throws {
        let (whole, parts) = (ScratchDirectory(), ScratchDirectory())
        let uninterrupted = try run(whole, trainers: 1, steps: 36)
        try uninterrupted.complete()
        try run(parts, trainers: 1, steps: 24).complete()
        let resumed = try run(parts, trainers: 1, steps: 36, resume: true)
        try resumed.complete()
        #expect(try uninterrupted.modelBytes(step: 36) == resumed.modelBytes(step: 36))
        let store = CheckpointStore(resumed.directory + "/checkpoints")
        let state = try #require(try store.newestValid().checkpoint?.state)
        #expect(state.step == 36 && state.epoch == 3 && state.samplesInEpoch == 0)
    }

    @Test(
        "Stopped by a signal under a schedule that knows the end, then resumed: the same model.safetensors",
        arguments: [false, true])
    func stoppedAndResumed(dedicated: Bool) throws {
        let configure: (inout RunConfiguration) -> Void = {
            $0.schedule = .cosine
            $0.warmupEpochs = 0.5
        }
        let (whole, parts) = (ScratchDirectory(), ScratchDirectory())
        let uninterrupted = try run(whole, trainers: 2, steps: 40, dedicated: dedicated, configure)
        try uninterrupted.complete()
        var stopped = try run(parts, trainers: 2, steps: 40, dedicated: dedicated, configure)
        let stop = stopped.stops.last!
        // Dedicated, steps are told late: asked at once, it stops after the first.
        if dedicated {
            stop.request(SIGUSR1)
        } else {
            stopped.log = EventLog { if case .step(let step) = $0, step.step == 17 { stop.request(SIGUSR1) } }
        }
        guard case .stopped(let step, let reason) = try stopped.complete() else {
            Issue.record("the run was not stopped")
            return
        }
        #expect(reason == "SIGUSR1")
        if dedicated { #expect(step == 1) } else { #expect((17...19).contains(step)) }
        let resumed = try run(parts, trainers: 2, steps: 40, dedicated: dedicated, resume: true, configure)
        try resumed.complete()
        #expect(try uninterrupted.modelBytes(step: 40) == resumed.modelBytes(step: 40))
    }

    @Test("A checkpoint of 4 ranks resumed by 2 continues the same curve, and a warning says that bits may differ")
    func fewerRanks() throws {
        let (whole, parts) = (ScratchDirectory(), ScratchDirectory())
        let uninterrupted = try run(whole, trainers: 4, steps: 30)
        try uninterrupted.complete()
        try run(parts, trainers: 4, steps: 16).complete()
        let resumed = try run(parts, trainers: 2, steps: 30, resume: true)
        try resumed.complete()
        expectSameCurve(resumed.log.losses, Array(uninterrupted.log.losses[16...]))
        let warning = try #require(resumed.log.notices.first)
        #expect(warning.level == .warning && warning.message.contains("4 ranks then, 2 now"), "\(warning)")
    }
}
