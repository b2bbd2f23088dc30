import DTrainCheckpoint
import DTrainEvents
import DTrainOptimizers
import DTrainTensor
import DTrainTrainer
import Foundation
import Glibc
import Testing

/// Averaged weights, plateaus and early stopping: the same bits with either coordinator, and after a resume.
@Suite(.timeLimit(.minutes(5)))
struct SteeringTests {
    /// 300 samples in batches of 24 make 12 steps an epoch.
    private func run(
        _ directory: ScratchDirectory, steps: Int, dedicated: Bool = false, resume: Bool = false, trainers: Int = 2,
        _ configure: (inout RunConfiguration) -> Void
    ) throws -> TestRun {
        var run = try TestRun(directory, ranks: dedicated ? trainers + 1 : trainers) {
            $0.steps = steps
            $0.coordinator = dedicated ? .dedicated : .inline
            $0.resume = resume ? .auto : .none
            $0.evalEvery = 4
            $0.checkpointEvery = 10
            $0.keep = 20
            configure(&$0)
        }
        run.model = "mlp"
        return run
    }

    private func checkpoint(_ run: TestRun, step: Int) throws -> Checkpoint {
        try Checkpoint(CheckpointStore(run.directory + "/checkpoints").path(step: step))
    }

    /// A rate that soon makes the loss jump about, so that the plateau has something to do.
    private func plateau(_ configuration: inout RunConfiguration) {
        configuration.learningRate = 0.08
        configuration.schedule = .plateau
        configuration.gamma = 0.5
        configuration.patience = 0
        configuration.threshold = 0.1
        configuration.cooldown = 1
    }

    private func stopEarly(_ configuration: inout RunConfiguration) {
        configuration.learningRate = 0.2
        configuration.earlyStop = 2
        configuration.minimumDelta = 0.2
    }

    private func average(_ configuration: inout RunConfiguration) { configuration.averageDecay = 0.9 }

    private func everything(_ configuration: inout RunConfiguration) {
        plateau(&configuration)
        average(&configuration)
        configuration.averageWarmsUp = true
        configuration.optimizer = .lamb
        configuration.learningRate = 0.05
        configuration.weightDecay = 0.01
        configuration.decay = .weights
        configuration.monitor = .top1
    }

    @Test("Evaluations are those of the averaged weights, and training goes its way without them")
    func averagedWeightsAreEvaluated() throws {
        let (first, second) = (ScratchDirectory(), ScratchDirectory())
        let with = try run(first, steps: 20) { average(&$0) }
        let without = try run(second, steps: 20) { _ in }
        try with.complete()
        try without.complete()
        #expect(try with.modelBytes(step: 20) == without.modelBytes(step: 20))
        #expect(with.log.losses == without.log.losses)
        #expect(with.log.evaluations.map(\.loss) != without.log.evaluations.map(\.loss))

        let kept = try checkpoint(with, step: 20)
        let training = try kept.modelTensors(.training)
        let averaged = try kept.modelTensors()
        #expect(training.map(\.name) == averaged.map(\.name))
        #expect(zip(training, averaged).allSatisfy { $0.array(of: Float.self) != $1.array(of: Float.self) })
        #expect(throws: CheckpointError.self) { try checkpoint(without, step: 20).modelTensors(.averaged) }
        #expect(try checkpoint(without, step: 20).modelTensors().count == training.count)

        // The average of the last step's loss is that of a run which starts from the averaged weights and learns nothing.
        let third = ScratchDirectory()
        try SafetensorsFile.write(averaged, to: third.path + "/averaged.safetensors")
        let still = try run(third, steps: 1) {
            $0.learningRate = 0
            $0.initialWeights = third.path + "/averaged.safetensors"
        }
        try still.complete()
        let (seen, expected) = (try #require(with.log.evaluations.last), try #require(still.log.evaluations.last))
        #expect(seen.loss == expected.loss && seen.correct == expected.correct)
    }

    @Test(
        "What the plateau decides takes effect at the next evaluation, with either coordinator",
        arguments: [false, true])
    func plateauLowersTheRate(dedicated: Bool) throws {
        let directory = ScratchDirectory()
        let run = try run(directory, steps: 40, dedicated: dedicated, plateau)
        try run.complete()
        let rule = Plateau(factor: 0.5, patience: 0, threshold: 0.1, cooldown: 1)
        var state = Plateau.State()
        var (decided, inEffect) = (1.0, 1.0)
        var evaluations = run.log.evaluations[...]
        for step in run.log.steps {
            #expect(abs(step.learningRate - 0.08 * inEffect) < 1e-12, "step \(step.step)")
            if evaluations.first?.step == step.step {
                inEffect = decided
                rule.record(evaluations.removeFirst().loss, goal: .smaller, in: &state)
                decided = rule.rateFactor(reductions: state.reductions)
            }
        }
        #expect(evaluations.isEmpty && state.reductions >= 2, "\(state)")
    }

    @Test("Inline and dedicated give the same model.safetensors with a plateau, and with everything")
    func dedicatedIsInline() throws {
        for configure in [plateau, everything] as [(inout RunConfiguration) -> Void] {
            let (first, second) = (ScratchDirectory(), ScratchDirectory())
            let inline = try run(first, steps: 42, configure)
            let dedicated = try run(second, steps: 42, dedicated: true, configure)
            try inline.complete()
            try dedicated.complete()
            #expect(try inline.modelBytes(step: 42) == dedicated.modelBytes(step: 42))
            #expect(inline.log.losses == dedicated.log.losses)
            #expect(inline.log.steps.map(\.learningRate) == dedicated.log.steps.map(\.learningRate))
            #expect(Set(inline.log.steps.map(\.learningRate)).count > 1)
            #expect(inline.log.evaluations.map(\.correct) == dedicated.log.evaluations.map(\.correct))
            let optimizers = try [inline, dedicated].map {
                try Data(contentsOf: URL(fileURLWithPath: checkpoint($0, step: 42).optimizerPath))
            }
            #expect(optimizers[0] == optimizers[1])
        }
    }

    @Test("Resumed on and off an evaluation's step: the same model.safetensors", arguments: [false, true], [20, 22])
    func resumed(dedicated: Bool, at step: Int) throws {
        let (whole, parts) = (ScratchDirectory(), ScratchDirectory())
        let uninterrupted = try run(whole, steps: 44, dedicated: dedicated, everything)
        try uninterrupted.complete()
        try run(parts, steps: step, dedicated: dedicated, everything).complete()
        let resumed = try run(parts, steps: 44, dedicated: dedicated, resume: true, everything)
        try resumed.complete()
        #expect(Set(uninterrupted.log.steps.map(\.learningRate)).count > 2)
        #expect(resumed.log.steps.map(\.learningRate) == uninterrupted.log.steps[step...].map(\.learningRate))
        #expect(resumed.log.losses == Array(uninterrupted.log.losses[step...]))
        #expect(try uninterrupted.modelBytes(step: 44) == resumed.modelBytes(step: 44))
        #expect(resumed.log.evaluations.last?.loss == uninterrupted.log.evaluations.last?.loss)
        let states = try [uninterrupted, resumed].map { try checkpoint($0, step: 44).state.decisions }
        #expect(states[0] == states[1] && states[0]?.plateau.best != nil)
    }

    @Test("Stopped by a signal where an evaluation was due: the resumed run makes up for it")
    func stoppedBeforeAnEvaluation() throws {
        let (whole, parts) = (ScratchDirectory(), ScratchDirectory())
        let uninterrupted = try run(whole, steps: 40, trainers: 1, plateau)
        try uninterrupted.complete()
        var stopped = try run(parts, steps: 40, trainers: 1, plateau)
        let stop = stopped.stops[0]
        // Asked for after step 15, it rides step 16, after which an evaluation is due.
        stopped.log = EventLog { if case .step(let step) = $0, step.step == 15 { stop.request(SIGUSR1) } }
        #expect(try stopped.complete() == .stopped(step: 16, reason: "SIGUSR1"))
        #expect(stopped.log.evaluations.map(\.step) == [4, 8, 12])
        let resumed = try run(parts, steps: 40, resume: true, trainers: 1, plateau)
        try resumed.complete()
        #expect(resumed.log.evaluations.first?.step == 16)
        #expect(resumed.log.steps.map(\.learningRate) == uninterrupted.log.steps[16...].map(\.learningRate))
        #expect(try uninterrupted.modelBytes(step: 40) == resumed.modelBytes(step: 40))
    }

    @Test("Early stopping ends a run like a complete one, and says so", arguments: [false, true])
    func stopsEarly(dedicated: Bool) throws {
        let directory = ScratchDirectory()
        let run = try run(directory, steps: 400, dedicated: dedicated, stopEarly)
        let outcome = try run.complete()
        let rule = EarlyStopping(patience: 2, minimumDelta: 0.2)
        var state = EarlyStopping.State()
        let end = try #require(
            run.log.evaluations.firstIndex {
                rule.record($0.loss, goal: .smaller, in: &state)
                return rule.ends(afterBad: state.badCount)
            })
        // Decided there, it takes effect at the next evaluation, which is the last.
        let step = run.log.evaluations[end].step + 4
        #expect(outcome == .completed(step: step) && step < 400)
        #expect(run.log.steps.last?.step == step && run.log.evaluations.last?.step == step)
        #expect(run.log.checkpoints.last?.step == step)
        #expect(run.log.finished?.step == step && run.log.finished?.evaluation?.step == step)
        let notice = try #require(run.log.notices.first)
        #expect(
            notice.message.hasPrefix(
                "early stopping: the test loss did not improve by more than 0.2 in 2 evaluations in a row; "),
            "\(notice)")

        // Resumed, it is evaluated again and stays as it is, until more patience is given.
        let again = try self.run(directory, steps: 400, dedicated: dedicated, resume: true, stopEarly)
        #expect(try again.complete() == .alreadyComplete(step: step))
        #expect(again.log.steps.isEmpty && again.log.checkpoints.isEmpty)
        #expect(again.log.notices.contains { $0.message.contains("early stopping ended it after step \(step)") })
        let more = try self.run(directory, steps: step + 6, dedicated: dedicated, resume: true) {
            stopEarly(&$0)
            $0.earlyStop = 100
        }
        #expect(try more.complete() == .completed(step: step + 6))
    }

    @Test("Inline and dedicated end at the same step with the same model.safetensors, resumed before the end too")
    func earlyStopIsTheSameEverywhere() throws {
        let (first, second, third) = (ScratchDirectory(), ScratchDirectory(), ScratchDirectory())
        let inline = try run(first, steps: 400, stopEarly)
        let dedicated = try run(second, steps: 400, dedicated: true, stopEarly)
        guard case .completed(let step) = try inline.complete() else { return }
        #expect(try dedicated.complete() == .completed(step: step))
        #expect(try inline.modelBytes(step: step) == dedicated.modelBytes(step: step))
        // Interrupted between the evaluation that decides and the one at which the run ends.
        try run(third, steps: step - 2, stopEarly).complete()
        let resumed = try run(third, steps: 400, resume: true, stopEarly)
        #expect(try resumed.complete() == .completed(step: step))
        #expect(resumed.log.steps.count == 2)
        #expect(try inline.modelBytes(step: step) == resumed.modelBytes(step: step))
    }
}
