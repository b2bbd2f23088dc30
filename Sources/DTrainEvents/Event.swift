#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What a run tells the outside: plain values, in the order in which things happen. The trainer emits them on rank 0
/// (evaluations and checkpoints of a dedicated coordinator included) and knows nothing of who listens.
public enum Event: Sendable, Equatable {
    case runStarted(RunStarted)
    case step(StepCompleted)
    case evaluation(EvaluationCompleted)
    case checkpoint(CheckpointWritten)
    case notice(Notice)
    case stopped(RunStopped)
    case finished(RunFinished)
}

/// The first event of a run: what is trained, on what, by how many, and from where.
public struct RunStarted: Sendable, Equatable {
    /// The model's name, as `--model` takes it.
    public var model: String
    /// The number of parameters as people count them.
    public var parameterCount: Int
    /// The data specification, as `--data` takes it.
    public var data: String
    /// Samples in the training split.
    public var trainingSamples: Int
    /// Samples in the test split.
    public var testSamples: Int
    /// What both are counted in: `sample`, or `character`.
    public var unit: String
    /// Processes, a dedicated coordinator included.
    public var ranks: Int
    /// Processes that train: `ranks`, or one less with a dedicated coordinator.
    public var trainingRanks: Int
    /// Compute threads of each rank.
    public var threads: Int
    /// `inline` or `dedicated`.
    public var coordinator: String
    /// Samples of one update over all ranks, accumulation included.
    public var batchSize: Int
    /// Parts in which a rank's share of the batch is computed one after the other.
    public var accumulate: Int
    /// The rate that the first update of this run uses, warm-up and schedule applied.
    public var learningRate: Double
    /// Updates in one epoch.
    public var stepsPerEpoch: Int
    /// The update at which the run ends, counted from the run's very first start.
    public var totalSteps: Int
    /// The number of updates done before this start: 0, or the resumed checkpoint's step.
    public var firstStep: Int
    /// Samples at the end of each epoch that are too few for a batch and are not trained on.
    public var droppedSamples: Int
    /// Of `unit`, those that are in no sample at all: characters of a text that fill no sequence.
    public var droppedUnits: Int
    /// The arithmetic, as `--precision` takes it.
    public var precision: String
    /// What rank 0's processor makes of it, for people.
    public var precisionRemark: String?
    /// The checkpoint that this run continues.
    public var resumedFrom: String?
    /// The run directory.
    public var runDirectory: String

    public init(
        model: String, parameterCount: Int, data: String, trainingSamples: Int, testSamples: Int,
        unit: String = "sample", ranks: Int,
        trainingRanks: Int, threads: Int, coordinator: String, batchSize: Int, accumulate: Int, learningRate: Double,
        stepsPerEpoch: Int, totalSteps: Int, firstStep: Int = 0, droppedSamples: Int = 0, droppedUnits: Int = 0,
        precision: String = "fp32", precisionRemark: String? = nil, resumedFrom: String? = nil, runDirectory: String
    ) {
        self.model = model
        self.parameterCount = parameterCount
        self.data = data
        self.trainingSamples = trainingSamples
        self.testSamples = testSamples
        self.unit = unit
        self.ranks = ranks
        self.trainingRanks = trainingRanks
        self.threads = threads
        self.coordinator = coordinator
        self.batchSize = batchSize
        self.accumulate = accumulate
        self.learningRate = learningRate
        self.stepsPerEpoch = stepsPerEpoch
        self.totalSteps = totalSteps
        self.firstStep = firstStep
        self.droppedSamples = droppedSamples
        self.droppedUnits = droppedUnits
        self.precision = precision
        self.precisionRemark = precisionRemark
        self.resumedFrom = resumedFrom
        self.runDirectory = runDirectory
    }
}

/// One update of the parameters. Emitted after every one.
public struct StepCompleted: Sendable, Equatable {
    /// Updates done, this one included: the first is 1.
    public var step: Int
    /// The epoch this update belongs to, from 0.
    public var epoch: Int
    /// The mean training loss of the global batch.
    public var loss: Double
    /// The learning rate of this update.
    public var learningRate: Double
    /// Samples of the global batch over the wall time of this step.
    public var samplesPerSecond: Double
    /// Time in which this rank had nothing to compute and waited for the exchange of gradients.
    public var communicationExposedSeconds: Double
    /// Time in which this rank waited for its data.
    public var dataWaitSeconds: Double
    /// The global norm of the gradient before clipping, where clipping is on.
    public var gradientNorm: Double?

    public init(
        step: Int, epoch: Int, loss: Double, learningRate: Double, samplesPerSecond: Double,
        communicationExposedSeconds: Double = 0, dataWaitSeconds: Double = 0, gradientNorm: Double? = nil
    ) {
        self.step = step
        self.epoch = epoch
        self.loss = loss
        self.learningRate = learningRate
        self.samplesPerSecond = samplesPerSecond
        self.communicationExposedSeconds = communicationExposedSeconds
        self.dataWaitSeconds = dataWaitSeconds
        self.gradientNorm = gradientNorm
    }
}

/// One pass over a split without training. Every sample counts exactly once, over all ranks.
public struct EvaluationCompleted: Sendable, Equatable {
    /// Updates done when the parameters were taken.
    public var step: Int
    /// The epoch of that step, from 0.
    public var epoch: Int
    /// `test` or `train`.
    public var split: String
    /// The mean loss over all samples.
    public var loss: Double
    /// Samples whose label has the largest logit.
    public var correct: Int
    /// Samples whose label is among the five largest logits.
    public var correctTop5: Int
    public var samples: Int
    public var seconds: Double
    /// Whether each sample is a character of a text, so that the loss has a meaning of its own.
    public var countsCharacters: Bool
    /// e to the loss: among how many equally likely characters the model still chooses; nil where none are counted.
    public var perplexity: Double? { countsCharacters ? exp(loss) : nil }
    /// The loss in bits; nil where no characters are counted.
    public var bitsPerCharacter: Double? { countsCharacters ? loss / log(2) : nil }
    /// The fraction of samples whose label has the largest logit.
    public var top1: Double { samples == 0 ? 0 : Double(correct) / Double(samples) }
    /// The fraction of samples whose label is among the five largest logits.
    public var top5: Double { samples == 0 ? 0 : Double(correctTop5) / Double(samples) }

    public init(
        step: Int, epoch: Int, split: String, loss: Double, correct: Int, correctTop5: Int, samples: Int,
        seconds: Double, countsCharacters: Bool = false
    ) {
        self.countsCharacters = countsCharacters
        self.step = step
        self.epoch = epoch
        self.split = split
        self.loss = loss
        self.correct = correct
        self.correctTop5 = correctTop5
        self.samples = samples
        self.seconds = seconds
    }
}

/// A checkpoint is complete on disk.
public struct CheckpointWritten: Sendable, Equatable {
    /// Updates done when the state was taken.
    public var step: Int
    public var path: String
    /// From the snapshot to the last fsync.
    public var seconds: Double
    public var byteCount: Int
    /// Whether its test accuracy is the best of the run so far.
    public var best: Bool
    /// Time that training waited for an earlier write to end.
    public var waitedSeconds: Double

    public init(
        step: Int, path: String, seconds: Double, byteCount: Int, best: Bool = false, waitedSeconds: Double = 0
    ) {
        self.step = step
        self.path = path
        self.seconds = seconds
        self.byteCount = byteCount
        self.best = best
        self.waitedSeconds = waitedSeconds
    }
}

/// Something that a person should read: one sentence, without a trailing newline.
public struct Notice: Sendable, Equatable {
    public enum Level: String, Sendable {
        /// Good to know: dropped samples, the effective rate.
        case info
        /// The run goes on, but something is not as it should be.
        case warning
    }

    public var level: Level
    public var message: String

    public init(_ level: Level, _ message: String) {
        self.level = level
        self.message = message
    }
}

/// The run ends before its last step because a signal asked for it; its checkpoint is written.
public struct RunStopped: Sendable, Equatable {
    /// Updates done.
    public var step: Int
    /// What asked for it: `SIGINT`, `SIGTERM`, `SIGUSR1`.
    public var reason: String

    public init(step: Int, reason: String) {
        self.step = step
        self.reason = reason
    }
}

/// The last event of a run that ends in order, after its final evaluation and checkpoint; a stopped run has it too.
public struct RunFinished: Sendable, Equatable {
    /// Updates done since the run's very first start.
    public var step: Int
    /// Samples trained on since this start.
    public var samples: Int
    /// Wall time since this start.
    public var seconds: Double
    /// Wall time spent in training steps.
    public var trainingSeconds: Double
    /// Samples over the time spent in training steps.
    public var samplesPerSecond: Double
    /// The final evaluation.
    public var evaluation: EvaluationCompleted?
    /// The newest checkpoint.
    public var checkpoint: String?

    public init(
        step: Int, samples: Int, seconds: Double, trainingSeconds: Double, samplesPerSecond: Double,
        evaluation: EvaluationCompleted?, checkpoint: String?
    ) {
        self.step = step
        self.samples = samples
        self.seconds = seconds
        self.trainingSeconds = trainingSeconds
        self.samplesPerSecond = samplesPerSecond
        self.evaluation = evaluation
        self.checkpoint = checkpoint
    }
}
