import DTrainCheckpoint
import DTrainCollectives
import DTrainEvents
import Synchronization
import DTrainTensor

/// The checkpoints of a run as rank 0 keeps them: written, judged, pruned, reported.
final class CheckpointArchive: Sendable {
    private let store: CheckpointStore
    private let policy: RetentionPolicy
    private let events: any EventSink
    private let newestPath: Mutex<String?>

    init(_ context: RunContext, resumedFrom: String?) {
        store = CheckpointStore(context.files.checkpointsPath, fault: context.files.fault)
        policy = RetentionPolicy(keep: context.configuration.keep)
        events = context.events
        newestPath = Mutex(resumedFrom)
    }

    /// The newest complete checkpoint.
    var newest: String? { newestPath.withLock { $0 } }

    /// Writes `snapshot` as the checkpoint of `state`.
    ///
    /// - Parameters:
    ///   - isBest: its evaluation is the best so far.
    ///   - snapshotTime: when it was taken.
    ///   - waitedSeconds: for how long training waited before it could be taken.
    func write(
        _ snapshot: Snapshot, _ state: TrainingState, isBest: Bool, snapshotTime: Double, waitedSeconds: Double
    ) throws {
        let saved = try store.save(
            state, model: snapshot.modelTensors, optimizer: snapshot.optimizerTensors(step: state.step))
        newestPath.withLock { $0 = saved.path }
        if isBest { try store.markBest(step: state.step) }
        try store.prune(policy)
        events.receive(
            .checkpoint(
                CheckpointWritten(
                    step: state.step, path: saved.path, seconds: monotonicSeconds() - snapshotTime,
                    byteCount: saved.byteCount,
                    best: isBest, waitedSeconds: waitedSeconds)))
    }
}

/// The best evaluation so far, by the fraction of the test split whose label has the largest output.
struct BestTracker {
    static let metric = "top1"
    private(set) var best: BestMetric?

    init(_ best: BestMetric?) { self.best = best }

    /// Whether the evaluation after `step` updates is better than all before; the first one is.
    mutating func record(_ evaluation: Evaluation, step: Int) -> Bool {
        if let best, best.value >= evaluation.top1 { return false }
        best = BestMetric(name: Self.metric, value: evaluation.top1, step: step)
        return true
    }
}
