/// Where a run stands: all that `state.json` says beside the digests of the other files.
///
/// Steps count updates: the state after the 100th update has `step` 100. Nothing in it depends on the number of ranks
/// except `execution`, which is there to be compared.
public struct TrainingState: Hashable, Sendable, Codable {
    /// Updates made.
    public var step: Int
    /// The epoch in progress, counted from 0.
    public var epoch: Int
    /// Samples of that epoch already used, over all ranks: the position in the epoch's global order.
    public var samplesInEpoch: Int
    /// The run's seed.
    public var seed: UInt64
    /// Samples of one global batch, accumulation included.
    public var batchSize: Int
    /// The optimizer with its hyper-parameters, as its description says it.
    public var optimizer: String
    /// The learning rate's schedule, as its description says it.
    public var schedule: String
    public var model: ModelDescription
    public var data: DataDescription
    public var execution: ExecutionDescription
    /// The best evaluation so far; nil before the first.
    public var best: BestMetric?
    /// What evaluations have led to; nil where they decide nothing.
    public var decisions: EvaluationDecisions?

    public init(
        step: Int, epoch: Int, samplesInEpoch: Int, seed: UInt64, batchSize: Int, optimizer: String, schedule: String,
        model: ModelDescription, data: DataDescription, execution: ExecutionDescription, best: BestMetric? = nil,
        decisions: EvaluationDecisions? = nil
    ) {
        self.step = step
        self.epoch = epoch
        self.samplesInEpoch = samplesInEpoch
        self.seed = seed
        self.batchSize = batchSize
        self.optimizer = optimizer
        self.schedule = schedule
        self.model = model
        self.data = data
        self.execution = execution
        self.best = best
        self.decisions = decisions
    }

    private enum CodingKeys: String, CodingKey {
        case step, epoch, seed, optimizer, schedule, model, data, execution, best, decisions
        case samplesInEpoch = "samples_in_epoch"
        case batchSize = "batch_size"
    }
}

/// The model that a checkpoint belongs to.
public struct ModelDescription: Hashable, Sendable, Codable {
    /// The name on the command line: `inception-mnist`.
    public var name: String
    /// What the command line said about it (`classes`, `image-size`, …).
    public var options: [String: String]
    /// Parameters, without padding.
    public var parameterCount: Int

    public init(name: String, options: [String: String] = [:], parameterCount: Int) {
        self.name = name
        self.options = options
        self.parameterCount = parameterCount
    }

    private enum CodingKeys: String, CodingKey {
        case name, options
        case parameterCount = "parameter_count"
    }
}

/// The data that a run learns from.
public struct DataDescription: Hashable, Sendable, Codable {
    /// As on the command line: `mnist:DIR`.
    public var specification: String
    /// Training samples.
    public var sampleCount: Int
    /// A digest of the content; empty where there is none.
    public var digest: String
    /// How images become what the model sees; nil in checkpoints from before it was kept.
    public var images: ImageDescription?
    /// How characters become what the model sees; nil where samples are no sequences.
    public var sequences: SequenceDescription?

    public init(
        specification: String, sampleCount: Int, digest: String = "", images: ImageDescription? = nil,
        sequences: SequenceDescription? = nil
    ) {
        self.specification = specification
        self.sampleCount = sampleCount
        self.digest = digest
        self.images = images
        self.sequences = sequences
    }

    private enum CodingKeys: String, CodingKey {
        case specification, digest, images, sequences
        case sampleCount = "sample_count"
    }
}

/// How images become what a model sees, and what its outputs mean: enough to predict without the data.
public struct ImageDescription: Hashable, Sendable, Codable {
    /// Height, width, channels of the data set's samples; of the first one where sizes may differ.
    public var sampleShape: [Int]
    public var sizesMayDiffer: Bool
    /// Height, width, channels of what the model sees.
    public var inputShape: [Int]
    /// The name of each class; empty where they have none.
    public var classNames: [String]
    /// Normalisation of each channel, of values scaled to 0 … 1.
    public var mean: [Float]
    public var standardDeviation: [Float]
    /// As `--augment` takes them; their evaluation counterparts apply.
    public var augmentations: String

    public init(
        sampleShape: [Int], sizesMayDiffer: Bool, inputShape: [Int], classNames: [String], mean: [Float],
        standardDeviation: [Float], augmentations: String
    ) {
        self.sampleShape = sampleShape
        self.sizesMayDiffer = sizesMayDiffer
        self.inputShape = inputShape
        self.classNames = classNames
        self.mean = mean
        self.standardDeviation = standardDeviation
        self.augmentations = augmentations
    }

    private enum CodingKeys: String, CodingKey {
        case mean, augmentations
        case sampleShape = "sample_shape"
        case sizesMayDiffer = "sizes_may_differ"
        case inputShape = "input_shape"
        case classNames = "class_names"
        case standardDeviation = "standard_deviation"
    }
}

/// How characters become what a model sees, and what its outputs mean: enough to predict without the data.
public struct SequenceDescription: Hashable, Sendable, Codable {
    /// What a sample is, and its label.
    public enum Kind: String, Hashable, Sendable, Codable {
        /// A name, which has a class.
        case names
        /// A window of a text; each character's label is the next one.
        case text
        /// A word, whose characters each have a label.
        case labelledSteps = "labelled_steps"
    }

    public var kind: Kind
    /// The vocabulary: the character of each number, in order.
    public var characters: String
    /// What happens to text before its characters are looked up: `ascii`, or nil.
    public var folding: String?
    /// The tokens of the longest sample; of a text, of each window.
    public var longest: Int
    /// The name of each class; of a text, the characters.
    public var classNames: [String]

    public init(kind: Kind, characters: String, folding: String?, longest: Int, classNames: [String]) {
        self.kind = kind
        self.characters = characters
        self.folding = folding
        self.longest = longest
        self.classNames = classNames
    }

    private enum CodingKeys: String, CodingKey {
        case kind, characters, folding, longest
        case classNames = "class_names"
    }
}

/// What the bits of a result depend on beside seed and configuration; resuming warns where it differs.
public struct ExecutionDescription: Hashable, Sendable, Codable {
    /// Ranks that train.
    public var ranks: Int
    /// Compute threads of each.
    public var threadsPerRank: Int
    /// The processor's features that choose kernels (`avx2`, `avx512f`, …), sorted.
    public var processorFeatures: [String]
    /// A number for each training rank's host, where the order of sums over ranks depends on it; nil where they are added as
    /// in a binary tree over the ranks: consecutive ranks on each host, the same power of two of them or all on one.
    public var rankHosts: [Int]?
    /// Whose kernels compute products (`oneDNN 2.6.3`, `OpenBLAS SkylakeX`); nil in checkpoints of versions that did not note it.
    public var libraries: [String]?

    /// - Parameters:
    ///   - hosts: a number for the ranks that share memory with each training rank.
    ///   - compresses: whether gradients are rounded between hosts; then their sums depend on the hosts in any case.
    public init(
        ranks: Int, threadsPerRank: Int, processorFeatures: [String], hosts: [Int] = [], compresses: Bool = false,
        libraries: [String]? = nil
    ) {
        self.ranks = ranks
        self.threadsPerRank = threadsPerRank
        self.processorFeatures = processorFeatures.sorted()
        self.libraries = libraries
        let numbers = hosts.map { hosts.firstIndex(of: $0)! }
        let sizes = Dictionary(grouping: numbers, by: { $0 }).values.map(\.count)
        let isBinaryTree =
            numbers == numbers.sorted() && Set(sizes).count <= 1
            && (sizes.count == 1 || sizes.allSatisfy { $0.nonzeroBitCount == 1 })
        rankHosts = isBinaryTree && !compresses ? nil : numbers
    }

    /// Why a run under `other` will not continue with the same bits, a phrase for each reason; empty where it will.
    public func differences(from other: ExecutionDescription) -> [String] {
        var differences: [String] = []
        if ranks != other.ranks { differences.append("\(ranks) ranks then, \(other.ranks) now") }
        if ranks == other.ranks, rankHosts != other.rankHosts {
            differences.append("ranks on the hosts \(Self.text(rankHosts)) then, \(Self.text(other.rankHosts)) now")
        }
        if threadsPerRank != other.threadsPerRank {
            differences.append("\(threadsPerRank) threads a rank then, \(other.threadsPerRank) now")
        }
        if processorFeatures != other.processorFeatures {
            let then = processorFeatures.filter { !other.processorFeatures.contains($0) }
            let now = other.processorFeatures.filter { !processorFeatures.contains($0) }
            differences.append(
                "another processor (only then: \(then.joined(separator: " ")); only now: \(now.joined(separator: " ")))"
            )
        }
        if let then = libraries, let now = other.libraries, then != now {
            differences.append("products by \(then.joined(separator: ", ")) then, \(now.joined(separator: ", ")) now")
        }
        return differences
    }

    private static func text(_ hosts: [Int]?) -> String {
        hosts.map { $0.map(String.init).joined(separator: " ") } ?? "in equal blocks"
    }

    private enum CodingKeys: String, CodingKey {
        case ranks, libraries
        case rankHosts = "rank_hosts"
        case threadsPerRank = "threads_per_rank"
        case processorFeatures = "processor_features"
    }
}

/// The best value of the metric that checkpoints are judged by.
public struct BestMetric: Hashable, Sendable, Codable {
    /// `top1`, `loss`.
    public var name: String
    /// Finite.
    public var value: Double
    /// The step whose evaluation gave it.
    public var step: Int

    public init(name: String, value: Double, step: Int) {
        self.name = name
        self.value = value
        self.step = step
    }
}
