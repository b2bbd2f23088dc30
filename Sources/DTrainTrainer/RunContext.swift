import DTrainCheckpoint
import DTrainCollectives
import DTrainData
import DTrainEngine
import DTrainEvents
import DTrainOptimizers
import DTrainTensor

/// What the parts of a run on one rank share: its settings, its numbers, its model.
final class RunContext {
    let configuration: RunConfiguration
    let model: TrainingModel
    let feed: any Feed
    let queue: CommunicationQueue
    let files: RunFiles
    let events: any EventSink
    let stop: StopFlag
    let course: RunCourse
    let pool: ThreadPool
    let replica: Replica
    let optimizer: Optimizer
    let residuals: GradientResiduals
    /// Of this rank: its part of each step's batch; none on a dedicated coordinator.
    let shards: [Shard]
    /// The ranks that train; on a dedicated coordinator it is not used.
    let group: CommunicatorGroup
    let isDedicatedCoordinator: Bool
    /// Of the ranks that train.
    let sharing: MemorySharing
    let execution: ExecutionDescription
    let startTime = monotonicSeconds()
    /// On rank 0, while the run lasts.
    var directoryLock: RunDirectoryLock?
    /// Where a trace is asked for.
    var trace: TraceRecorder?

    /// Compares the ranks, parts them and builds the model. Throws `SharedFailure` for what is wrong on all.
    init(
        _ configuration: RunConfiguration, model: TrainingModel, data: OpenedData, queue: CommunicationQueue,
        threads: Int, files: RunFiles, events: any EventSink, stop: StopFlag
    ) throws {
        try Agreement.check(configuration, data, over: queue)
        let brokenSamples =
            configuration.skipsBroken
            ? BrokenSamples { [events] in events.receive(.notice(Notice(.warning, "left out: \($0.error)"))) } : nil
        let feed = try Agreement.shared {
            try configuration.validate()
            return try configuration.feed(
                of: data, presets: model.presets, normalisation: model.normalisation, brokenSamples: brokenSamples)
        }
        let course = try Agreement.shared { try RunCourse(configuration, ranks: queue.size, feed: feed) }
        self.configuration = configuration
        self.model = model
        self.feed = feed
        self.queue = queue
        self.files = files
        self.events = events
        self.stop = stop
        self.course = course

        let isDedicated = configuration.coordinator == .dedicated
        isDedicatedCoordinator = isDedicated && queue.rank == 0
        group = isDedicated ? try queue.split(color: queue.rank == 0 ? 0 : 1)! : queue.world
        sharing = try MemorySharing(of: group, over: queue, leavingOutRankZero: isDedicated)
        let pool = ThreadPool(threadCount: threads)
        self.pool = pool
        let shards = try Agreement.shared {
            try Shard.ofRank(
                isDedicated ? max(queue.rank - 1, 0) : queue.rank, of: course.trainingRanks,
                batchSize: configuration.batchSize, accumulation: configuration.accumulate)
        }
        self.shards = isDedicatedCoordinator ? [] : shards
        // A coordinator only evaluates; it need not do so in the trainers' small parts.
        let capacity = max(shards.map(\.rows).max()!, isDedicatedCoordinator ? min(64, feed.testRows) : 1)
        let trains = !isDedicatedCoordinator
        let built = try Agreement.onModel(over: queue) {
            let replica = try Replica(
                model.module, input: feed.input, classes: configuration.classes ?? feed.classCount,
                objective: Self.objective(of: model, configuration), capacity: capacity,
                streams: max(configuration.batchSize, feed.isStream ? feed.testRows : 0), pool: pool,
                trains: trains, synchronisesBatchNorm: configuration.synchronisesBatchNorm,
                precision: configuration.precision,
                isFrozen: { [frozen = NamePatterns(configuration.freeze)] in frozen.match($0) })
            if trains { try configuration.precision.check(replica, of: model.name) }
            try Self.check(replica, configuration, feed)
            try Self.check(replica, configuration, smallestShard: course.smallestShard)
            let optimizer = try Optimizer(
                configuration.optimizerConfiguration, decay: configuration.decay, averaging: configuration.averaging,
                layout: replica.layout)
            return (replica, optimizer)
        } text: { replica, _ in
            replica.trainingGraph.fingerprint
        }
        (replica, optimizer) = built
        residuals = GradientResiduals(
            configuration.compression, layout: replica.layout, hosts: sharing.firstRanks, isDedicated: isDedicated,
            trains: trains)
        execution = ExecutionDescription(
            ranks: course.trainingRanks, threadsPerRank: threads, processorFeatures: processorFeatures(),
            hosts: sharing.firstRanks, compresses: residuals.savedRanks > 0,
            libraries: (OneDNN.version.map { ["oneDNN \($0)"] } ?? []) + ["OpenBLAS \(OpenBLAS.kernels)"])
    }

    /// Throws where the model's outputs are not what the data has labels for.
    private static func check(_ replica: Replica, _ configuration: RunConfiguration, _ feed: any Feed) throws {
        if replica.returnsSequences != feed.labelsEachToken {
            let (model, data) = (configuration.model, feed.specification)
            throw ConfigurationError.doesNotFit(
                problem: feed.labelsEachToken
                    ? "\(model) says one thing of a sequence, and \(data) has a label for each of its characters"
                    : "\(model) says something at each step of a sequence, and \(data) has one label a sequence",
                remedy: "choose another --model or other --data")
        }
        if replica.carriedStateCount > 0, !feed.isStream {
            throw ConfigurationError.doesNotFit(
                problem:
                    "\(configuration.model) carries its state from batch to batch, and \(feed.specification) is no text "
                    + "that goes on",
                remedy: "choose another --model, or a text as --data")
        }
    }

    /// Throws where `--freeze` names nothing, `--sync-batchnorm` has nothing to do, or a batch-norm would see one value.
    private static func check(_ replica: Replica, _ configuration: RunConfiguration, smallestShard: Int) throws {
        let names = replica.layout.segments.filter { $0.role != .buffer }.map(\.name)
        if let pattern = NamePatterns(configuration.freeze).firstUnmatched(among: names) {
            var layers: [String] = []
            for name in names {
                let layer = name.split(separator: ".").dropLast().joined(separator: ".") + ".*"
                if layers.last != layer { layers.append(layer) }
            }
            throw ConfigurationError.doesNotFit(
                problem: "--freeze '\(pattern)' matches no parameter\(suggestion(for: pattern, among: names + layers))",
                remedy: "'dtrain models \(configuration.model)' lists the layers")
        }
        let batchNorms = replica.batchNorms
        if configuration.synchronisesBatchNorm, batchNorms.isEmpty {
            throw ConfigurationError.withoutEffect(
                setting: RunSetting.syncBatchNorm.rawValue,
                reason: "\(configuration.model) has no batch normalisation that uses the batch's statistics",
                remedy: "leave it out")
        }
        let rows =
            configuration.synchronisesBatchNorm ? configuration.batchSize / configuration.accumulate : smallestShard
        if let batchNorm = batchNorms.first(where: { $0.pixels * rows < 2 }) {
            throw ConfigurationError.doesNotFit(
                problem: "\(batchNorm.path) normalises over the samples of a shard, and there is only one",
                remedy: "give a larger --batch-size, fewer ranks or --accumulate parts, or --sync-batchnorm")
        }
    }

    private static func objective(of model: TrainingModel, _ configuration: RunConfiguration) -> Objective {
        guard case .crossEntropy = model.objective, configuration.labelSmoothing > 0 else { return model.objective }
        return .crossEntropy(labelSmoothing: Float(configuration.labelSmoothing))
    }

    /// What streams carry from batch to batch.
    var carriedState: CarriedStateTransfer { CarriedStateTransfer(replica, batchSize: configuration.batchSize) }

    /// What state.json says after `step` updates.
    func state(step: Int, best: BestMetric?, decisions: EvaluationDecisions?) -> TrainingState {
        let position = course.sampler.position(ofStep: step)
        return TrainingState(
            step: step, epoch: position.epoch, samplesInEpoch: position.batch * configuration.batchSize,
            seed: UInt64(configuration.seed), batchSize: configuration.batchSize,
            optimizer: configuration.optimizerDescription,
            schedule: configuration.learningRateSchedule.description,
            model: ModelDescription(
                name: model.name, options: model.options, parameterCount: replica.layout.parameterCount),
            data: feed.dataDescription,
            execution: execution, best: best, decisions: decisions)
    }

    /// The evaluation event of `evaluation` after `step` updates.
    func event(of evaluation: Evaluation, step: Int) -> EvaluationCompleted {
        EvaluationCompleted(
            step: step, epoch: course.epoch(ofUpdate: step), split: DatasetSplit.test.rawValue, loss: evaluation.loss,
            correct: evaluation.correct, correctTop5: evaluation.correctTop5, samples: evaluation.samples,
            seconds: evaluation.seconds, countsCharacters: feed.labelsEachToken)
    }
}
