import DTrainCheckpoint
import DTrainCollectives
import DTrainData
import DTrainEngine
import DTrainEvents

/// The model of a run, with the name that checkpoints and messages give it.
public struct TrainingModel {
    /// As `--model` takes it.
    public let name: String
    /// What was said about it on the command line, by flag name; goes into `state.json`.
    public let options: [String: String]
    /// What the model minimises; cross-entropy takes the configuration's label smoothing.
    public let objective: Objective
    public let module: any Module
    /// What may differ between weights that are loaded and the model.
    public let weightsPolicy: WeightsPolicy
    /// Where the weights to start from are, if not where the configuration says; only rank 0 looks.
    public let initialWeightsPath: String?
    /// What `--augment preset` means for this model; by default what is usual for images of the data's size.
    public let presets: PresetFamily?
    /// What the weights to start from were trained with; nil for the data's own normalisation.
    public let normalisation: Normalisation?

    public init(
        _ name: String, options: [String: String] = [:], objective: Objective = .crossEntropy(), module: any Module,
        presets: PresetFamily? = nil, normalisation: Normalisation? = nil,
        weightsPolicy: WeightsPolicy = WeightsPolicy(),
        initialWeightsPath: String? = nil
    ) {
        self.name = name
        self.options = options
        self.objective = objective
        self.module = module
        self.presets = presets
        self.normalisation = normalisation
        self.weightsPolicy = weightsPolicy
        self.initialWeightsPath = initialWeightsPath
    }
}

/// Where a run keeps its files, and what goes into config.yaml. Only rank 0 touches it.
public struct RunFiles: Sendable {
    /// The run directory.
    public let directory: String
    /// The text of config.yaml: the complete effective configuration.
    public let configurationText: String
    /// Death in the middle of a checkpoint write, for tests.
    public let fault: CheckpointFault?
    /// Called once the directory is in order, before the first event: the place to open files in it. It gets the step of
    /// the resumed checkpoint, nil for a fresh run. If it throws, every rank leaves in good order.
    public let onReady: @Sendable (_ resumedStep: Int?) throws -> Void

    public init(
        directory: String, configurationText: String, fault: CheckpointFault? = nil,
        onReady: @escaping @Sendable (_ resumedStep: Int?) throws -> Void = { _ in }
    ) {
        self.directory = directory
        self.configurationText = configurationText
        self.fault = fault
        self.onReady = onReady
    }

    public var configurationPath: String { directory + "/config.yaml" }
    public var checkpointsPath: String { directory + "/checkpoints" }
}

/// How a run ended; the same on every rank.
public enum TrainerOutcome: Sendable, Equatable {
    /// All steps are done, or early stopping ended the run; the last evaluation and checkpoint are done too. `step` counts updates since the run's first start.
    case completed(step: Int)
    /// The resumed checkpoint was already at the last step, or early stopping had ended the run there: it was evaluated,
    /// nothing was trained.
    case alreadyComplete(step: Int)
    /// A signal asked to stop; a checkpoint of `step` is written. `reason` is the signal's name. (Exit code 75.)
    case stopped(step: Int, reason: String)
}

/// One training run on one rank: from the first comparison of the ranks to the last checkpoint.
///
/// Every rank makes one, with the same configuration, model and data, and calls `run` once, on one thread. With
/// `--coordinator dedicated` rank 0 coordinates and the others train.
public final class Trainer {
    private let configuration: RunConfiguration
    private let model: TrainingModel
    private let data: OpenedData
    private let queue: CommunicationQueue
    private let threads: Int
    private let files: RunFiles
    private let events: any EventSink
    private let stop: StopFlag

    /// Nothing happens yet.
    ///
    /// - Parameters:
    ///   - configuration: validated, with `resume` and `initialWeights`; `out`, `workers` and `threads` are not looked at.
    ///   - threads: the compute threads of this rank.
    ///   - files: the run directory, which rank 0 alone touches.
    ///   - events: hears of the run; on rank 0 only.
    ///   - stop: ends the run after the step under way; each rank has its own.
    public init(
        _ configuration: RunConfiguration, model: TrainingModel, data: OpenedData, queue: CommunicationQueue,
        threads: Int, files: RunFiles, events: any EventSink, stop: StopFlag = StopFlag()
    ) {
        self.configuration = configuration
        self.model = model
        self.data = data
        self.queue = queue
        self.threads = threads
        self.files = files
        self.events = events
        self.stop = stop
    }

    /// Trains to the end, or until a stop is asked for.
    ///
    /// - Throws: `SharedFailure` for what every rank throws at the same point (configurations or data that differ, a
    ///   loss that is not finite, a checkpoint that cannot be read): leave in good order. Any other error is this rank's
    ///   own (`DataError`, `CheckpointError`, `CommunicationError`): the others wait until the job is aborted.
    public func run() throws -> TrainerOutcome {
        let context = try RunContext(
            configuration, model: model, data: data, queue: queue, threads: threads, files: files, events: events,
            stop: stop)
        let start = try RunStart(context).begin()
        context.trace = try configuration.trace.map { try TraceRecorder(context, path: $0) }
        do {
            let outcome = try train(context, start)
            try context.trace?.write()
            return outcome
        } catch let failure as SharedFailure {
            try context.trace?.write()
            throw failure
        }
    }

    private func train(_ context: RunContext, _ start: StartPoint) throws -> TrainerOutcome {
        let reporter = RunReporter(context: context, start: start)
        if queue.rank == 0 { reporter.started() }
        if context.isDedicatedCoordinator {
            return try DedicatedCoordinator(context, start: start, reporter: reporter).run()
        }
        let coordination: any Coordination =
            configuration.coordinator == .dedicated
            ? CoordinatorLink(context, start: start) : InlineCoordinator(context, start: start, reporter: reporter)
        return try TrainingLoop(context: context, start: start, coordination: coordination).run()
    }
}
