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

    public init(
        _ name: String, options: [String: String] = [:], objective: Objective = .crossEntropy(), module: any Module
    ) {
        self.name = name
        self.options = options
        self.objective = objective
        self.module = module
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

    public init(directory: String, configurationText: String, fault: CheckpointFault? = nil) {
        self.directory = directory
        self.configurationText = configurationText
        self.fault = fault
    }

    public var configurationPath: String { directory + "/config.yaml" }
    public var checkpointsPath: String { directory + "/checkpoints" }
}

/// How a run ended; the same on every rank.
public enum TrainerOutcome: Sendable, Equatable {
    /// All steps are done, the last evaluation and checkpoint too. `step` counts updates since the run's first start.
    case completed(step: Int)
    /// The resumed checkpoint was already at the last step: it was evaluated, nothing was trained.
    case alreadyComplete(step: Int)
    /// A signal asked to stop; a checkpoint of `step` is written. `reason` is the signal's name. (Exit code 75.)
    case stopped(step: Int, reason: String)
}

/// One training run on one rank: from the first comparison of the ranks to the last checkpoint.
///
/// Every rank makes one, with the same configuration, model and data, and calls `run` once, on one thread. With
/// `--coordinator dedicated` rank 0 coordinates and the others train.
public final class Trainer {
    private let setup: RunSetup

    /// Nothing happens yet.
    ///
    /// - Parameters:
    ///   - configuration: validated, with `resume` and `initialWeights`; `out`, `workers` and `threads` are not looked at.
    ///   - threads: the compute threads of this rank.
    ///   - files: the run directory, which rank 0 alone touches.
    ///   - events: hears of the run; on rank 0 only. `.runStarted` comes once the run directory is in order: whoever
    ///     writes into it opens files then.
    ///   - stop: ends the run after the step under way; each rank has its own.
    public init(
        _ configuration: RunConfiguration, model: TrainingModel, data: DatasetPair, queue: CommunicationQueue,
        threads: Int, files: RunFiles, events: any EventSink, stop: StopFlag = StopFlag()
    ) {
        setup = RunSetup(
            configuration: configuration, model: model, data: data, queue: queue, threads: threads, files: files,
            events: events, stop: stop)
    }

    /// Trains to the end, or until a stop is asked for.
    ///
    /// - Throws: `SharedFailure` for what every rank throws at the same point (configurations or data that differ, a
    ///   loss that is not finite, a checkpoint that cannot be read): leave in good order. Any other error is this rank's
    ///   own (`DataError`, `CheckpointError`, `CommunicationError`): the others wait until the job is aborted.
    public func run() throws -> TrainerOutcome { try setup.run() }
}
