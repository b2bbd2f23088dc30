import DTrainCheckpoint
import DTrainCollectives
import DTrainEvents
import DTrainOptimizers
import DTrainTensor

/// Rank 0 works too: all ranks evaluate together, each its part; rank 0 takes a snapshot and writes it while training
/// goes on.
final class InlineCoordinator: Coordination {
    private let context: RunContext
    private let reporter: RunReporter
    private let archive: CheckpointArchive
    private var tracker: BestTracker
    private var steering: Steering
    private var lastEvaluation: EvaluationCompleted?
    private let writer = BackgroundWorker(name: "dtrain-writer")
    /// Made at the first checkpoint, on rank 0.
    private var snapshot: Snapshot?

    private var isRankZero: Bool { context.queue.rank == 0 }

    init(_ context: RunContext, start: StartPoint, reporter: RunReporter) {
        self.context = context
        self.reporter = reporter
        archive = CheckpointArchive(context, resumedFrom: start.resumedFrom)
        tracker = BestTracker(start.best)
        steering = Steering(context.configuration, decisions: start.decisions)
    }

    var newestCheckpoint: String? { archive.newest }

    func report(_ step: StepCompleted) throws {
        try writer.throwFailure()
        context.events.receive(.step(step))
    }

    func milestone(step: Int, evaluate: Bool, save: Bool) throws -> Steering.Verdict {
        guard GradientNorm.isFinite(context.replica.parameters) else { throw UnusableState(kind: .parameters) }
        var (isBest, ends) = (false, false)
        if evaluate {
            ends = steering.begin(evaluationAfter: step, course: context.course)
            let traceStart = monotonicNanoseconds()
            let evaluation = try context.optimizer.withAveragedWeights(in: context.replica.parameters) {
                try Evaluation.run(
                    context.replica, on: context.feed, queue: context.queue,
                    loaderThreads: context.configuration.loaderThreads)
            }
            context.trace?.evaluated(after: step, from: traceStart, to: monotonicNanoseconds())
            guard evaluation.loss.isFinite else { throw UnusableState(kind: .evaluation, loss: evaluation.loss) }
            steering.record(evaluation, after: step, course: context.course)
            isBest = tracker.record(evaluation, step: step)
            let event = context.event(of: evaluation, step: step)
            lastEvaluation = event
            if isRankZero { context.events.receive(.evaluation(event)) }
        }
        guard save || isBest || ends else { return steering.verdict }
        if isRankZero {
            let waited = try writer.waitUntilIdle()
            let snapshot =
                try self.snapshot
                ?? Snapshot(
                    of: context.replica, optimizer: context.optimizer, batchSize: context.configuration.batchSize,
                    residualRanks: context.residuals.savedRanks)
            self.snapshot = snapshot
            let time = monotonicSeconds()
            snapshot.take(from: context.replica, context.optimizer)
            try context.residuals.collect(into: snapshot.residuals) { bytes, rank in
                try context.queue.run(
                    .receive(bytes, from: rank, tag: MessageTag.residual.rawValue, waitsIndefinitely: true))
            }
            let state = context.state(step: step, best: tracker.best, decisions: steering.saved)
            let archive = archive
            writer.start {
                try archive.write(snapshot, state, isBest: isBest, snapshotTime: time, waitedSeconds: waited)
            }
        } else {
            try context.residuals.send(over: context.queue)
        }
        try context.queue.awaitRankZero(of: context.group)
        return steering.verdict
    }

    func end(_ ending: Ending) throws {
        if isRankZero {
            try writer.waitUntilIdle()
            reporter.ended(ending, evaluation: lastEvaluation, checkpoint: archive.newest)
        }
        try context.queue.awaitRankZero(of: context.group)
    }

    func fail(_ failure: Failure) throws {
        if isRankZero { try writer.waitUntilIdle() }
        try context.queue.awaitRankZero(of: context.group)
    }
}
