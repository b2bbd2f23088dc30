import DTrainCheckpoint
import DTrainData
import DTrainTensor

/// What a run learns from, whatever its kind: what the model reads of it, in which order, and the loaders that bring it.
public protocol Feed: Sendable {
    var specification: DataSpecification { get }
    /// What the model reads for a sample.
    var input: ModelInput { get }
    var classNames: [String] { get }
    /// One digest of both splits: what ranks compare before the first step.
    var digest: String { get }
    /// Whether each token of a sequence has a label; otherwise each sample has one.
    var labelsEachToken: Bool { get }
    /// Whether a position of the batch goes on in the next batch, from the first batch of an epoch (`WorkItem.batch` 0) to
    /// the last: carried state begins there with zeros.
    var isStream: Bool { get }

    /// What people count the data in: `sample`, or `character` of a text; and how many there are in a split.
    var unit: String { get }
    func count(_ split: DatasetSplit) -> Int
    /// Samples of an epoch.
    var trainingSamples: Int { get }
    /// Of `unit`, those that no sample of training holds.
    var droppedUnits: Int { get }
    /// The most samples that an evaluation of the test split could take at once.
    var testRows: Int { get }

    /// The order of training. Throws `DataUsageError.batchSize`.
    func sampler(batchSize: Int, seed: UInt64, shuffles: Bool) throws(DataUsageError) -> Sampler
    /// This rank's shards of the batches of `steps`.
    func training(_ sampler: Sampler, shards: [Shard], steps: Range<Int>, threadCount: Int) -> DataLoader
    /// This rank's part of a split, at most `rows` samples at a time; over all ranks every label once.
    func evaluation(of split: DatasetSplit, rank: Int, rankCount: Int, rows: Int, threadCount: Int) -> DataLoader
    /// What `state.json` says of the data.
    var dataDescription: DTrainCheckpoint.DataDescription { get }
}

extension Feed {
    public var classCount: Int { classNames.count }
}

/// Images on their way to a model.
public struct ImageFeed: Feed {
    public let data: DatasetPair
    public let transforms: TransformPipeline
    /// The augmentations that `transforms` are made of, as text.
    private let augmentations: String
    private let seed: UInt64
    private let brokenSamples: BrokenSamples?
    /// What pixels are normalised by.
    private let normalisation: Normalisation

    /// - Parameters:
    ///   - normalisation: what pixels are normalised by; by default the data's own.
    ///   - augmentations: what `transforms` are made of.
    ///   - seed: the run's, for transforms that draw.
    ///   - brokenSamples: leaves samples that cannot be read out, and out of the count; nil ends the run.
    public init(
        _ data: DatasetPair, transforms: TransformPipeline, normalisation: Normalisation? = nil,
        augmentations: [Augmentation] = [], seed: UInt64 = 0, brokenSamples: BrokenSamples? = nil
    ) {
        self.data = data
        self.transforms = transforms
        self.normalisation = normalisation ?? data.train.normalisation
        self.augmentations = Augmentation.text(of: augmentations)
        self.seed = seed
        self.brokenSamples = brokenSamples
    }

    public var specification: DataSpecification { data.specification }
    public var input: ModelInput { .values(transforms.outputShape) }
    public var classNames: [String] { data.classNames }
    public var digest: String { data.digest }
    public var labelsEachToken: Bool { false }
    public var isStream: Bool { false }
    public var unit: String { "sample" }
    public func count(_ split: DatasetSplit) -> Int { data[split].count }
    public var trainingSamples: Int { data.train.count }
    public var droppedUnits: Int { 0 }
    public var testRows: Int { data.test.count }

    public func sampler(batchSize: Int, seed: UInt64, shuffles: Bool) throws(DataUsageError) -> Sampler {
        try Sampler(sampleCount: data.train.count, batchSize: batchSize, seed: seed, shuffles: shuffles)
    }

    public func training(_ sampler: Sampler, shards: [Shard], steps: Range<Int>, threadCount: Int) -> DataLoader {
        DataLoader.training(
            dataset: data.train, sampler: sampler, shards: shards, steps: steps, transforms: transforms.training,
            sampleShape: transforms.outputShape, normalisation: normalisation, mixing: transforms.mixing,
            brokenSamples: brokenSamples,
            threadCount: threadCount)
    }

    public func evaluation(
        of split: DatasetSplit, rank: Int, rankCount: Int, rows: Int, threadCount: Int
    ) -> DataLoader {
        DataLoader.evaluation(
            dataset: data[split], rank: rank, rankCount: rankCount, rows: rows, transforms: transforms.evaluation,
            sampleShape: transforms.outputShape, normalisation: normalisation, seed: seed, brokenSamples: brokenSamples,
            threadCount: threadCount)
    }

    public var dataDescription: DTrainCheckpoint.DataDescription {
        DTrainCheckpoint.DataDescription(
            specification: specification.description, sampleCount: trainingSamples, digest: digest,
            images: ImageDescription(
                sampleShape: data.sampleShape.dimensions,
                sizesMayDiffer: data.train.sizesMayDiffer || data.test.sizesMayDiffer,
                inputShape: transforms.outputShape.dimensions, classNames: classNames,
                mean: normalisation.mean, standardDeviation: normalisation.standardDeviation,
                augmentations: augmentations))
    }
}

extension RunConfiguration {
    /// What happens to samples of `data` on their way to a model of `family`; `normalisation` is by default the data's own.
    /// Throws `DataUsageError`.
    public func transforms(
        of data: DatasetPair, _ family: PresetFamily, normalisation: Normalisation? = nil
    ) throws(DataUsageError) -> TransformPipeline {
        try TransformPipeline(
            augment, family: family, sampleShape: data.sampleShape,
            sizesMayDiffer: data.train.sizesMayDiffer || data.test.sizesMayDiffer, imageSize: imageSize,
            normalisation: normalisation ?? data.train.normalisation, seed: UInt64(seed))
    }

    /// `data` as this run sees it.
    ///
    /// - Parameters:
    ///   - presets: what `--augment preset` means; by default what is usual for images of the data's size.
    ///   - normalisation: what the weights to start from were trained with; by default the data's own.
    ///   - brokenSamples: of images: leaves those that cannot be read out.
    /// - Throws: `DataUsageError` where the augmentations do not fit the images, or the text is too short.
    public func feed(
        of data: OpenedData, presets: PresetFamily? = nil, normalisation: Normalisation? = nil,
        brokenSamples: BrokenSamples? = nil
    ) throws(DataUsageError) -> any Feed {
        switch data {
        case .images(let pair):
            ImageFeed(
                pair,
                transforms: try transforms(
                    of: pair, presets ?? .usual(forImagesOf: pair.sampleShape), normalisation: normalisation),
                normalisation: normalisation, augmentations: augment, seed: UInt64(seed), brokenSamples: brokenSamples)
        case .sequences(let pair):
            try SequenceFeed(pair, streams: batchSize, sequenceLength: sequenceLength)
        }
    }
}
