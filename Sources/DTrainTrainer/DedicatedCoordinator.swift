import DTrainCheckpoint
import DTrainCollectives
import DTrainEvents
import DTrainTensor
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Rank 0 where it does not train: it passes on what the trainers report, and evaluates and writes their snapshots on a
/// thread of its own while they go on. One snapshot is worked on; the next one waits with the trainers.
final class DedicatedCoordinator {
    /// What the working thread finds out.
    private struct Findings {
        var tracker: BestTracker
        var steering: Steering
        var lastEvaluation: EvaluationCompleted?
    }

    private let context: RunContext
    private let queue: CommunicationQueue
    private let start: StartPoint
    private let reporter: RunReporter
    private let archive: CheckpointArchive
    private let worker = BackgroundWorker(name: "dtrain-snapshot")
    /// Guarded by the worker: read only while it is idle, or on its thread.
    private var findings: Findings
    private let message = CoordinatorMessage()
    private let replyMemory = AlignedMemory(byteCount: MemoryLayout<Int64>.stride)
    private let verdict = VerdictMessage()
    private let snapshot: Snapshot

    /// The world's rank of the first trainer.
    private static let trainer = 1

    init(_ context: RunContext, start: StartPoint, reporter: RunReporter) {
        self.context = context
        queue = context.queue
        self.start = start
        self.reporter = reporter
        archive = CheckpointArchive(context, resumedFrom: start.resumedFrom)
        findings = Findings(
            tracker: BestTracker(start.best), steering: Steering(context.configuration, decisions: start.decisions))
        snapshot = Snapshot(
            holding: context.replica, optimizer: context.optimizer, batchSize: context.configuration.batchSize,
            residualRanks: context.residuals.savedRanks)
    }

    /// Serves the trainers until they end.
    func run() throws -> TrainerOutcome {
        while true {
            try receive(message.bytes, tag: .message)
            try answer()
            for step in message.steps { context.events.receive(.step(step)) }
            switch message.kind {
            case .steps: break
            case .snapshot: try takeSnapshot()
            case .end: return try end(message.ending)
            case .failure:
                let failure = message.failure
                try worker.waitUntilIdle()
                try queue.awaitRankZero(of: queue.world)
                throw SharedFailure(failure.error(checkpoint: archive.newest))
            }
        }
    }

    /// Tells the trainers whether this rank was asked to stop.
    private func answer() throws {
        let reply = replyMemory.slice(of: Int64.self)[0..<1]
        reply[0] = Int64(context.stop.requestedSignal)
        try queue.run(.send(reply.rawBytes, to: Self.trainer, tag: MessageTag.reply.rawValue))
    }

    private func takeSnapshot() throws {
        let (step, evaluate, save) = message.milestone
        let waited = try worker.waitUntilIdle()
        var isLast = false
        if evaluate {
            isLast = findings.steering.begin(evaluationAfter: step, course: context.course)
            verdict.value = findings.steering.verdict
            try queue.run(.send(verdict.bytes, to: Self.trainer, tag: MessageTag.verdict.rawValue))
        }
        let ends = isLast
        for memory in SnapshotTransfer.memories(context) { try receive(memory, tag: .payload) }
        try context.residuals.collect(into: snapshot.residuals) { try receive($0, from: $1, tag: .residual) }
        let time = monotonicSeconds()
        worker.start { [self] in
            var isBest = false
            if evaluate {
                let traceStart = monotonicNanoseconds()
                let evaluation = try context.optimizer.withAveragedWeights(in: context.replica.parameters) {
                    try Evaluation.alone(
                        context.replica, on: context.feed, loaderThreads: context.configuration.loaderThreads)
                }
                context.trace?.evaluated(after: step, from: traceStart, to: monotonicNanoseconds())
                guard evaluation.loss.isFinite else {
                    throw Failure(kind: .evaluation, step: step, loss: evaluation.loss).error(
                        checkpoint: archive.newest)
                }
                findings.steering.record(evaluation, after: step, course: context.course)
                isBest = findings.tracker.record(evaluation, step: step)
                let event = context.event(of: evaluation, step: step)
                findings.lastEvaluation = event
                context.events.receive(.evaluation(event))
            }
            guard save || isBest || ends else { return }
            let state = context.state(
                step: step, best: findings.tracker.best, decisions: findings.steering.saved)
            try archive.write(snapshot, state, isBest: isBest, snapshotTime: time, waitedSeconds: waited)
        }
    }

    private func end(_ ending: Ending) throws -> TrainerOutcome {
        try worker.waitUntilIdle()
        reporter.ended(ending, evaluation: findings.lastEvaluation, checkpoint: archive.newest)
        try queue.awaitRankZero(of: queue.world)
        if let stop = ending.stop { return .stopped(step: ending.step, reason: stop.name) }
        if start.step >= context.course.totalSteps || Self.hadEnded(start, context) {
            return .alreadyComplete(step: ending.step)
        }
        return .completed(step: ending.step)
    }

    /// Whether early stopping had ended the run before this start.
    private static func hadEnded(_ start: StartPoint, _ context: RunContext) -> Bool {
        Steering(context.configuration, decisions: start.decisions).verdict.ends
    }

    /// Waits for bytes of a trainer, the first by default; meanwhile throws what the working thread throws, such as a full disk.
    private func receive(_ bytes: MemorySlice<UInt8>, from rank: Int = trainer, tag: MessageTag) throws {
        let ticket = queue.submit(
            .receive(bytes, from: rank, tag: tag.rawValue, waitsIndefinitely: true))
        while !queue.isDone(ticket) {
            try worker.throwFailure()
            usleep(2_000)
        }
        try queue.wait(ticket)
    }
}
