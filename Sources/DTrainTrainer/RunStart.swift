import DTrainCheckpoint
import DTrainCollectives
import DTrainOptimizers
import DTrainTensor
import Foundation

/// Where a run starts: fresh, from given weights, or from a checkpoint.
struct StartPoint: Codable {
    /// Updates already made.
    var step = 0
    var best: BestMetric?
    /// What evaluations have led to.
    var decisions: EvaluationDecisions?
    /// The checkpoint that is continued.
    var resumedFrom: String?
    /// Whether that holds what compressed sums have left out of the gradients.
    var hasResiduals = false
    /// What people should know, and what they should worry about.
    var remarks: [String] = []
    var warnings: [String] = []
}

/// Puts the run directory in order and gives all ranks the same parameters and optimizer state. Rank 0 alone reads and
/// writes files: the other hosts need not see them.
struct RunStart {
    let context: RunContext
    private var files: RunFiles { context.files }
    private var store: CheckpointStore { CheckpointStore(files.checkpointsPath) }

    init(_ context: RunContext) { self.context = context }

    /// Throws the same `SharedFailure` on every rank where rank 0 cannot start.
    func begin() throws -> StartPoint {
        let start = try Agreement.fromRankZero(over: context.queue) { try onRankZero() }
        let queue = context.queue
        if queue.size > 1 {
            try queue.run(.broadcast(context.replica.parameters.rawBytes, root: 0))
            for arena in context.optimizer.stateArenas { try queue.run(.broadcast(arena.rawBytes, root: 0)) }
            if context.carriedState.isNeeded {
                try queue.run(.broadcast(context.carriedState.memory.rawBytes, root: 0))
            }
            if start.hasResiduals { try context.residuals.distribute(over: queue) }
        }
        return start
    }

    private func onRankZero() throws -> StartPoint {
        try prepareDirectory()
        // A run that was interrupted is put in order first. A new one gets its files once nothing that was given can be
        // wrong any more: a mistake must not leave a directory that the next start refuses.
        if FileManager.default.fileExists(atPath: store.directory) { try store.prepare() }
        var start = StartPoint()
        if let checkpoint = try chooseCheckpoint(&start) {
            try load(checkpoint, &start)
        } else {
            context.replica.initialize(seed: UInt64(context.configuration.seed))
            if let path = context.model.initialWeightsPath ?? context.configuration.initialWeights {
                if let trained = TrainingState(besideWeights: path) {
                    try checkVocabulary(
                        of: path, trained.data,
                        remedy: "give --data with the characters that the weights were trained on, or leave --init out")
                }
                let report = try loadWeights(
                    path, into: NamedArena(context.replica.layout, context.replica.parameters).targets,
                    policy: context.model.weightsPolicy)
                start.remarks.append(report.description)
            }
        }
        if context.configuration.compression != .none, Set(context.sharing.firstRanks).count == 1 {
            start.remarks.append(
                "--compress has no effect: all ranks that train are on one host, and none rounds its gradients"
                    + (start.hasResiduals ? "; what rounding has left out before is dropped" : ""))
        }
        if context.sharing.isMissing {
            start.remarks.append(
                "ranks of one host do not share memory, so gradients go by messages, which takes longer: "
                    + "DTRAIN_SHARED_MEMORY=0 is set, they run in containers of their own, "
                    + "or 4 MiB of memory a rank are not to be had")
        }
        // The last thing that can be wrong; it may lie in the run directory.
        if let path = context.configuration.trace { try TraceFile.create(path) }
        try store.prepare()
        if start.resumedFrom != nil { try setAside(after: start.step, &start) }
        try writeConfiguration()
        try files.onReady(start.resumedFrom == nil ? nil : start.step)
        return start
    }

    private func prepareDirectory() throws {
        let directory = files.directory
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            // The ranks of a run that was killed may live a moment longer.
            context.directoryLock = try RunDirectoryLock(
                directory, patienceSeconds: context.configuration.resume == .none ? 0 : 5)
            if !goesOnInPlace,
                try !FileManager.default.contentsOfDirectory(atPath: directory).isEmpty
            {
                throw TrainerError.runDirectoryNotEmpty(path: directory)
            }
        } catch let error as CocoaError {
            throw TrainerError.runDirectory(path: directory, reason: Self.reason(error))
        }
    }

    /// Whether the run goes on in its own directory, and not in a new one.
    private var goesOnInPlace: Bool {
        switch context.configuration.resume {
        case .none: false
        case .auto: true
        case .path(let path):
            URL(fileURLWithPath: path).resolvingSymlinksInPath().deletingLastPathComponent().path
                == URL(fileURLWithPath: store.directory).resolvingSymlinksInPath().path
        }
    }

    private func writeConfiguration() throws {
        do {
            try Data(files.configurationText.utf8).write(
                to: URL(fileURLWithPath: files.configurationPath), options: .atomic)
        } catch let error as CocoaError {
            throw TrainerError.runDirectory(path: files.configurationPath, reason: Self.reason(error))
        }
    }

    private static func reason(_ error: CocoaError) -> String {
        (error.underlying as? POSIXError).map { String(cString: strerror($0.code.rawValue)) }
            ?? error.localizedDescription
    }

    /// The checkpoint that `resume` asks for; nil for a fresh start.
    private func chooseCheckpoint(_ start: inout StartPoint) throws -> Checkpoint? {
        switch context.configuration.resume {
        case .none: return nil
        case .path(let path): return try Checkpoint(path)
        case .auto:
            let (checkpoint, skipped) = try store.newestValid()
            start.warnings += skipped.map(\.description)
            guard checkpoint != nil || skipped.isEmpty else {
                throw CheckpointError.noValidCheckpoint(directory: store.directory, skipped: skipped)
            }
            if checkpoint == nil {
                start.remarks.append(
                    "there is no checkpoint in \(store.directory) yet: training starts from the beginning")
            }
            return checkpoint
        }
    }

    /// Takes over parameters and optimizer state.
    private func load(_ checkpoint: Checkpoint, _ start: inout StartPoint) throws {
        let saved = checkpoint.state
        let now = context.state(step: saved.step, best: nil, decisions: nil)
        func require(_ what: String, _ saved: String, _ given: String) throws {
            guard saved == given else {
                throw TrainerError.checkpointDiffers(path: checkpoint.path, what: what, saved: saved, given: given)
            }
        }
        try require("model", saved.model.name, now.model.name)
        try checkVocabulary(
            of: checkpoint.path, saved.data,
            remedy: "continue it with the data it was started with, or start a new run with another --out")
        try require(
            saved.data.sequences?.kind == .text ? "a text of digest" : "data digest", saved.data.digest, now.data.digest
        )
        try require("seed", "\(saved.seed)", "\(now.seed)")
        try require("batch size", "\(saved.batchSize)", "\(now.batchSize)")
        try require("optimizer", saved.optimizer, now.optimizer)
        try require("schedule", saved.schedule, now.schedule)
        try checkpoint.loadModel(into: [NamedArena(context.replica.layout, context.replica.parameters)])
        do {
            let (tensors, residualRanks) = try context.residuals.take(from: checkpoint.optimizerTensors())
            start.hasResiduals = residualRanks > 0
            let others = try context.carriedState.take(from: tensors)
            let step = try context.optimizer.load(others)
            try require("optimizer state of step", "\(step)", "\(saved.step)")
        } catch let error as TensorMismatch {
            throw CheckpointError.mismatch(path: checkpoint.optimizerPath, error)
        }
        start.step = saved.step
        start.best = saved.best
        start.decisions = saved.decisions
        start.resumedFrom = checkpoint.path
        let differences = saved.execution.differences(from: now.execution)
        if !differences.isEmpty {
            start.warnings.append(
                "the last bits of the results may differ from those of an uninterrupted run: "
                    + differences.joined(separator: "; "))
        }
    }

    /// Throws where the weights at `path`, of a run on `trained`, mean other characters than this run's data have.
    private func checkVocabulary(of path: String, _ trained: DTrainCheckpoint.DataDescription, remedy: String) throws {
        guard let then = trained.sequences, let now = context.feed.dataDescription.sequences,
            let difference = then.vocabularyDifference(from: now)
        else { return }
        throw TrainerError.vocabularyDiffers(
            path: path, data: context.configuration.data, difference: difference, remedy: remedy)
    }

    /// Renames the checkpoints of later steps (damaged ones, or of a course that is given up): they must not count among
    /// the newest. Nothing is deleted.
    private func setAside(after step: Int, _ start: inout StartPoint) throws {
        for later in try store.steps() where later > step {
            let path = store.path(step: later)
            let aside = store.directory + "/abandoned-" + path.split(separator: "/").last!
            do {
                if FileManager.default.fileExists(atPath: aside) { try FileManager.default.removeItem(atPath: aside) }
                try FileManager.default.moveItem(atPath: path, toPath: aside)
            } catch let error as CocoaError {
                throw TrainerError.runDirectory(path: path, reason: Self.reason(error))
            }
            start.warnings.append("\(path) is of a later step than the resumed one: renamed to \(aside)")
        }
        if let best = start.best, try store.steps().contains(best.step) { try store.markBest(step: best.step) }
    }
}
