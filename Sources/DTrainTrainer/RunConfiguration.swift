import DTrainCollectives
import DTrainData
public import DTrainEngine
import DTrainOptimizers

/// Everything a training run is told: the command line over a YAML file over these defaults, validated once.
///
/// The defaults train a small network on the embedded digits with plain SGD: no warm-up, no augmentation, no
/// smoothing, no clipping, and decay on all parameters.
public struct RunConfiguration: Sendable, Equatable {
    // MARK: What is trained

    /// The model's name (`dtrain models` lists them).
    public var model = "cnn-mnist"
    /// The number of classes; nil takes the data set's.
    public var classes: Int?
    /// Patterns of the names of parameters that training leaves alone, such as `layer1.*`.
    public var freeze: [String] = []
    /// Whether batch-norms use the statistics of the whole global batch (of each part of it, with `accumulate`) instead of
    /// each rank's own.
    public var synchronisesBatchNorm = false
    /// Replaces the model's own dropout probability, in 0 ..< 1; nil keeps it.
    public var dropout: Double?
    /// Height and width of the images that the model sees; nil takes those of the data, or where they differ the size
    /// that the model is made for.
    public var imageSize: Int?
    /// False leaves the model's head out: it returns features.
    public var top = true
    /// False leaves auxiliary classifiers out, where the model has any.
    public var auxiliary = true
    /// The residual block, of a model with a choice of them; nil is the model's own.
    public var block: String?
    /// Weights to start from: a safetensors or PyTorch file, a checkpoint, or `pretrained`. Nil initialises at random.
    public var initialWeights: String?

    // MARK: On what

    /// The data specification, such as `mnist-sample` or `mnist:DIR`.
    public var data = "mnist-sample"
    /// What is done to each sample, in this order.
    public var augment: [Augmentation] = []
    /// Whether samples that cannot be read are left out (`BrokenSamples`) instead of ending the run.
    public var skipsBroken = false
    /// Whether each epoch goes through the samples in an order of its own; false keeps the order of the files.
    public var shuffle = true
    /// Characters of a text that are learned from at once, in each position of the batch: as far as gradients reach back.
    public var sequenceLength = 64
    /// Threads that read and decode samples on each rank.
    public var loaderThreads = 1

    // MARK: How long

    /// Epochs in all, counted from the run's first start; nil where only `steps` bounds the run.
    public var epochs: Int? = 3
    /// Updates in all, counted from the run's first start; with `epochs` too, whichever ends first.
    public var steps: Int?
    /// Samples of one update over all ranks, accumulation included.
    public var batchSize = 64
    /// Parts in which a rank computes its share of the batch one after the other, to need less memory.
    public var accumulate = 1

    // MARK: By which rule

    public var optimizer = OptimizerName.sgd
    /// The base learning rate. The default is that of the rule (`OptimizerName.defaults`).
    public var learningRate = 0.01
    /// Momentum of SGD, RMSprop and LARS, in 0 ..< 1. The default is that of the rule.
    public var momentum = 0.9
    /// Whether SGD or LARS looks ahead (Nesterov 1983, in PyTorch's form).
    public var nesterov = false
    /// Decay rates of the first and second moment of Adam, AdamW and LAMB, each in 0 ..< 1.
    public var betas = Betas(first: 0.9, second: 0.999)
    /// RMSprop's decay rate of the mean square, in 0 ..< 1.
    public var alpha = 0.99
    /// Whether RMSprop takes the square of the mean off the mean square.
    public var centered = false
    /// How fast Adagrad's rate falls: 1 / (1 + updates · this).
    public var rateDecay = 0.0
    /// What Adagrad's sums of squares start from.
    public var initialAccumulator = 0.0
    /// LARS's η: the part of a weight's norm that a step of rate 1 may be.
    public var trustCoefficient = 0.001
    /// What keeps the rule from dividing by 0, where it divides. The default is that of the rule.
    public var epsilon = 1e-8
    /// Weight decay: decoupled in AdamW and LAMB, added to the gradient by the others (L2). The default is that of the
    /// rule.
    public var weightDecay = 0.0
    /// Which parameters weight decay applies to.
    public var decay = DecayScope.all
    /// The decay of an exponential moving average of the weights, which is then what is evaluated; nil keeps none.
    public var averageDecay: Double?
    /// Whether the average's decay grows to its value in the first updates.
    public var averageWarmsUp = false
    /// Scales the gradient down to this global norm where it is larger; nil never does.
    public var clipNorm: Double?
    /// The part of the target that is spread evenly over all classes, in 0 ..< 1.
    public var labelSmoothing = 0.0
    public var schedule = ScheduleName.constant
    /// The epochs at which `multistep` multiplies the rate by `gamma`, ascending.
    public var milestones: [Int] = []
    /// The factor of `step`, `multistep` and `plateau`.
    public var gamma = 0.1
    /// The number of epochs between two reductions by `step`.
    public var stepSize = 1
    /// The exponent of `polynomial`.
    public var power = 1.0
    /// The part of the run in which `onecycle` rises, in 0 ... 1.
    public var pctStart = 0.3
    /// `onecycle` starts from the base rate over this.
    public var divFactor = 25.0
    /// `onecycle` ends at its first rate over this.
    public var finalDivFactor = 1e4
    /// Bad evaluations that `plateau` lets pass before it lowers the rate.
    public var patience = 10
    /// The relative improvement that `plateau` asks for.
    public var threshold = 1e-4
    /// Evaluations after a reduction that `plateau` does not count.
    public var cooldown = 0
    /// What `plateau` and early stopping look at.
    public var monitor = Monitor.loss
    /// Ends the run after so many evaluations in a row without improvement; nil never does.
    public var earlyStop: Int?
    /// The absolute improvement that early stopping asks for.
    public var minimumDelta = 0.0
    /// Epochs over which the rate grows linearly to its base value; fractions are fine.
    public var warmupEpochs = 0.0
    /// Decides initial weights, sample order, augmentation and dropout.
    public var seed = 0
    public var precision = Precision.fp32
    /// How gradients travel between hosts.
    public var compression = GradientCompression.none

    // MARK: By whom

    /// Processes that train when `dtrain` starts them itself; nil is one, or as many as the launcher started.
    public var workers: Int?
    /// Compute threads of each rank; nil divides the cores granted among the ranks of a host.
    public var threads: Int?
    public var coordinator = CoordinatorMode.inline

    // MARK: What is kept

    /// Updates between two evaluations; nil is once an epoch.
    public var evalEvery: Int?
    /// Updates between two checkpoints; nil is once an epoch.
    public var checkpointEvery: Int?
    /// How many of the newest checkpoints stay; the best one stays as well.
    public var keep = 3

    // MARK: Of this start alone (not written to config.yaml)

    /// The run directory; nil is `runs/MODEL-TIME`.
    public var out: String?
    public var resume = ResumeMode.none
    /// A file that gets a trace of this start's first steps, for Perfetto or Chrome; nil for none.
    public var trace: String?
    /// The steps that a trace shows.
    public var traceSteps = 20
    public var progress = ProgressMode.auto
    /// Whether only warnings, errors and the result are shown.
    public var quiet = false

    /// Far more threads than this only wait for each other, and cannot be stopped meanwhile.
    public static let largestThreadCount = 1024

    public init() {}

    /// The update at which the run ends, for `stepsPerEpoch` updates an epoch.
    public func totalSteps(stepsPerEpoch: Int) -> Int {
        min(steps ?? .max, epochs.map { $0.multipliedReportingOverflow(by: stepsPerEpoch).partialValue } ?? .max)
    }
}

/// The update rules that `--optimizer` names.
public enum OptimizerName: String, Sendable, CaseIterable {
    case sgd, adam, adamw, rmsprop, adagrad, lars, lamb

    /// What stands where nothing is given: PyTorch's values, but momentum 0.9 for SGD, and those of the papers' common
    /// implementations for LARS and LAMB.
    public var defaults: (learningRate: Double, momentum: Double, epsilon: Double, weightDecay: Double) {
        switch self {
        case .sgd: (0.01, 0.9, 1e-8, 0)
        case .adam: (0.001, 0.9, 1e-8, 0)
        case .adamw: (0.001, 0.9, 1e-8, 0.01)
        case .rmsprop: (0.01, 0, 1e-8, 0)
        case .adagrad: (0.01, 0.9, 1e-10, 0)
        case .lars: (1, 0.9, 1e-8, 0)
        case .lamb: (0.001, 0.9, 1e-6, 0.01)
        }
    }
}

/// The courses of the learning rate that `--schedule` names.
public enum ScheduleName: String, Sendable, CaseIterable {
    case constant, step, multistep, cosine, polynomial, onecycle, plateau
}

/// Who evaluates and writes checkpoints: rank 0 beside its own training, or a rank that does nothing else.
public enum CoordinatorMode: String, Sendable, CaseIterable { case inline, dedicated }

/// What standard error shows while training goes on.
public enum ProgressMode: String, Sendable, CaseIterable {
    /// A bar on a terminal, lines elsewhere.
    case auto
    case bar, lines, none
}

/// Where a run starts.
public enum ResumeMode: Sendable, Equatable {
    /// From the beginning.
    case none
    /// From the newest valid checkpoint of the run directory; from the beginning where it has none.
    case auto
    /// From this checkpoint directory.
    case path(String)
}

/// Adam's decay rates of the first and second moment of the gradient (Kingma and Ba 2014).
public struct Betas: Sendable, Equatable {
    public var first: Double
    public var second: Double

    public init(first: Double, second: Double) {
        self.first = first
        self.second = second
    }
}
