import DTrainCollectives
import DTrainEvents
import DTrainTensor

/// What training needs of whoever evaluates and keeps checkpoints; every training rank has one and calls it at the same
/// steps.
protocol Coordination: AnyObject {
    /// One update is done. Called on the first training rank alone.
    func report(_ step: StepCompleted) throws
    /// After `step` updates: evaluate, and keep a checkpoint if `save`, if the evaluation is the best so far or if the run
    /// ends with it. Returns what earlier evaluations have decided about the steps that follow.
    func milestone(step: Int, evaluate: Bool, save: Bool) throws -> Steering.Verdict
    /// The last call of a run: returns when everything is on disk.
    func end(_ ending: Ending) throws
    /// The run cannot go on, and every training rank knows: returns when what was under way is on disk, so that
    /// `newestCheckpoint` is final.
    func fail(_ failure: Failure) throws
    /// Where this rank knows it.
    var newestCheckpoint: String? { get }
}

/// How training ended, as the first training rank knows it.
struct Ending {
    var step: Int
    var stop: StopReason?
    /// Whether evaluations ended it before its last step.
    var isEarly = false
    /// Samples of the global batches since this start.
    var samples: Int
    /// Time spent in steps.
    var trainingSeconds: Double
}

/// Why training cannot go on.
struct Failure {
    enum Kind: Int { case loss, gradient, parameters, evaluation }
    var kind: Kind
    /// Updates made.
    var step: Int
    var loss: Double

    func error(checkpoint: String?) -> TrainerError {
        // The sign of a NaN means nothing.
        let text = loss.isNaN ? "nan" : "\(loss)"
        return switch kind {
        case .loss: .lossNotFinite(step: step, loss: text, checkpoint: checkpoint)
        case .gradient: .gradientNotFinite(step: step, checkpoint: checkpoint)
        case .parameters: .parametersNotFinite(step: step, checkpoint: checkpoint)
        case .evaluation: .evaluationNotFinite(step: step, loss: text, checkpoint: checkpoint)
        }
    }
}

/// Training has reached a state that cannot be kept; caught by the training loop.
struct UnusableState: Error {
    var kind: Failure.Kind
    /// The loss that shows it, where one does.
    var loss: Double = .nan
}

extension CommunicationQueue {
    /// Holds all ranks of `group` until its rank 0 comes, however long that takes: for waits (a slow disk, an evaluation)
    /// that must not count as a stalled rank. Gives all of them the bytes that its rank 0 has.
    func awaitRankZero(of group: CommunicatorGroup, sharing bytes: MemorySlice<UInt8>) throws {
        guard group.size > 1 else { return }
        let tag = MessageTag.release.rawValue
        if group.rank == 0 {
            for rank in 1..<group.size {
                try run(.send(bytes, to: rank, tag: tag, waitsIndefinitely: true), in: group)
            }
        } else {
            try run(.receive(bytes, from: 0, tag: tag, waitsIndefinitely: true), in: group)
        }
    }

    /// The same without anything to share.
    func awaitRankZero(of group: CommunicatorGroup) throws {
        let memory = AlignedMemory(byteCount: 1)
        try awaitRankZero(of: group, sharing: memory.slice()[0..<1])
        withExtendedLifetime(memory) {}
    }
}

/// What messages between two ranks are.
enum MessageTag: Int {
    case message = 1, reply, payload, release, verdict, trace, residual
}

/// Emits what frames a run: its start and its end. Only on rank 0.
struct RunReporter {
    let context: RunContext
    let start: StartPoint

    func started() {
        let configuration = context.configuration
        let verdict = Steering(configuration, decisions: start.decisions).verdict
        let course = context.course
        context.events.receive(
            .runStarted(
                RunStarted(
                    model: context.model.name, parameterCount: context.replica.layout.parameterCount,
                    data: context.feed.specification.description, trainingSamples: context.feed.count(.train),
                    testSamples: context.feed.count(.test), unit: context.feed.unit, ranks: context.queue.size,
                    trainingRanks: course.trainingRanks, threads: context.pool.threadCount,
                    coordinator: configuration.coordinator.rawValue, batchSize: configuration.batchSize,
                    accumulate: configuration.accumulate,
                    learningRate: verdict.rateFactor
                        * configuration.learningRateSchedule.rate(
                            atStep: start.step, stepsPerEpoch: course.stepsPerEpoch, totalSteps: course.totalSteps),
                    stepsPerEpoch: course.stepsPerEpoch, totalSteps: course.totalSteps, firstStep: start.step,
                    droppedSamples: course.sampler.droppedSampleCount,
                    droppedUnits: context.feed.droppedUnits,
                    precision: configuration.precision.rawValue, precisionRemark: configuration.precision.remark,
                    resumedFrom: start.resumedFrom,
                    runDirectory: context.files.directory)))
        for remark in start.remarks { context.events.receive(.notice(Notice(.info, remark))) }
        for warning in start.warnings { context.events.receive(.notice(Notice(.warning, warning))) }
        if verdict.ends {
            context.events.receive(
                .notice(
                    Notice(
                        .info,
                        "the run is complete: early stopping ended it after step \(start.step); it is evaluated again. "
                            + "Raise --early-stop to train on")))
        } else if start.resumedFrom != nil, start.step >= course.totalSteps {
            context.events.receive(
                .notice(
                    Notice(
                        .info,
                        "the run is complete: \(start.step) of \(course.totalSteps) steps are done; "
                            + "it is evaluated again. Raise --epochs or --steps to train on")))
        }
    }

    func ended(_ ending: Ending, evaluation: EvaluationCompleted?, checkpoint: String?) {
        if let stop = ending.stop {
            context.events.receive(.stopped(RunStopped(step: ending.step, reason: stop.name)))
        }
        if ending.isEarly, let rule = context.configuration.earlyStopping {
            let name = context.configuration.monitor == .loss ? "loss" : "accuracy"
            let delta = rule.minimumDelta > 0 ? " by more than \(rule.minimumDelta)" : ""
            let count = rule.patience == 1 ? "the last evaluation" : "\(rule.patience) evaluations in a row"
            context.events.receive(
                .notice(
                    Notice(
                        .info,
                        "early stopping: the test \(name) did not improve\(delta) in \(count); "
                            + "the run ends after step \(ending.step) of \(context.course.totalSteps)")))
        }
        context.events.receive(
            .finished(
                RunFinished(
                    step: ending.step, samples: ending.samples, seconds: monotonicSeconds() - context.startTime,
                    trainingSeconds: ending.trainingSeconds,
                    samplesPerSecond: ending.trainingSeconds > 0 ? Double(ending.samples) / ending.trainingSeconds : 0,
                    evaluation: evaluation?.step == ending.step ? evaluation : nil, checkpoint: checkpoint)))
    }
}
