import DTrainData

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
    /// Weights to start from: a safetensors file with the model's names and shapes. Nil initialises at random.
    public var initialWeights: String?

    // MARK: On what

    /// The data specification, such as `mnist-sample` or `mnist:DIR`.
    public var data = "mnist-sample"
    /// What is done to each sample, in this order.
    public var augment: [Augmentation] = []
    /// Whether each epoch goes through the samples in an order of its own; false keeps the order of the files.
    public var shuffle = true
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
    /// The base learning rate. The default is 0.01 for SGD and 0.001 for Adam and AdamW.
    public var learningRate = 0.01
    /// SGD's momentum, in 0 ..< 1.
    public var momentum = 0.9
    /// Whether SGD looks ahead (Nesterov 1983, in PyTorch's form).
    public var nesterov = false
    /// Adam's decay rates of the first and second moment, each in 0 ..< 1.
    public var betas = Betas(first: 0.9, second: 0.999)
    /// Weight decay: added to the gradient by SGD and Adam (L2), decoupled in AdamW. Applies to all parameters.
    /// The default is 0, and 0.01 for AdamW.
    public var weightDecay = 0.0
    /// Scales the gradient down to this global norm where it is larger; nil never does.
    public var clipNorm: Double?
    /// The part of the target that is spread evenly over all classes, in 0 ..< 1.
    public var labelSmoothing = 0.0
    public var schedule = ScheduleName.constant
    /// The epochs at which `multistep` multiplies the rate by `gamma`, ascending.
    public var milestones: [Int] = []
    /// The factor of `step` and `multistep`.
    public var gamma = 0.1
    /// The number of epochs between two reductions by `step`.
    public var stepSize = 1
    /// Epochs over which the rate grows linearly to its base value; fractions are fine.
    public var warmupEpochs = 0.0
    /// Decides initial weights, sample order, augmentation and dropout.
    public var seed = 0
    public var precision = Precision.fp32

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
public enum OptimizerName: String, Sendable, CaseIterable { case sgd, adam, adamw }

/// The courses of the learning rate that `--schedule` names.
public enum ScheduleName: String, Sendable, CaseIterable { case constant, step, multistep, cosine }

/// The arithmetic that `--precision` names.
public enum Precision: String, Sendable, CaseIterable { case fp32 }

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
