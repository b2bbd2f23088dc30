import DTrainCheckpoint
import DTrainData
import DTrainEngine
import DTrainTensor

/// Sequences of characters on their way to a model: names, bucketed by length, or a text in streams.
public struct SequenceFeed: Feed {
    public let data: SequencePair
    private let train: any SequenceDataset
    private let test: any SequenceDataset
    /// Of training, to be evaluated: a text's streams are others then.
    private let trainForEvaluation: any SequenceDataset
    public let droppedUnits: Int
    /// The most streams that a text is evaluated in.
    public static var largestEvaluationStreamCount: Int { TextDataset.largestEvaluationStreamCount }

    /// - Parameters:
    ///   - streams: into how many streams the training text is cut: the batch size.
    ///   - sequenceLength: of a text, the tokens of a window.
    /// - Throws: `DataUsageError.sequenceTooLong` where the text does not fill a window of each stream.
    public init(_ data: SequencePair, streams: Int, sequenceLength: Int) throws(DataUsageError) {
        self.data = data
        switch data.content {
        case .names(let train, let test):
            (self.train, self.test, trainForEvaluation) = (train, test, train)
            droppedUnits = 0
        case .hello(let train, let test):
            (self.train, self.test, trainForEvaluation) = (train, test, train)
            droppedUnits = 0
        case .text(let train, let test):
            let cut = try train.streams(streams, longest: sequenceLength)
            self.train = cut
            self.test = test.evaluationStreams(longest: sequenceLength)
            trainForEvaluation = train.evaluationStreams(longest: sequenceLength)
            droppedUnits = cut.droppedCharacterCount
        }
    }

    public var specification: DataSpecification { data.specification }
    public var input: ModelInput { .tokens(vocabulary: data.vocabulary.count, longest: train.longest) }
    public var classNames: [String] { data.classNames }
    public var digest: String { data.digest }
    public var labelsEachToken: Bool { train.labelsEachToken }
    public var isStream: Bool { train.isStream }
    public var unit: String { isStream ? "character" : "sample" }
    public func count(_ split: DatasetSplit) -> Int { data[split].count }
    public var trainingSamples: Int { train.count }
    public var testRows: Int { (test as? TextStreams)?.streamCount ?? test.count }

    /// A text is never shuffled.
    public func sampler(batchSize: Int, seed: UInt64, shuffles: Bool) throws(DataUsageError) -> Sampler {
        try Sampler(
            sampleCount: train.count, batchSize: batchSize, seed: seed, shuffles: shuffles && !isStream,
            lengths: isStream ? nil : train.lengths)
    }

    public func training(_ sampler: Sampler, shards: [Shard], steps: Range<Int>, threadCount: Int) -> DataLoader {
        DataLoader(
            sequences: train, sampler: sampler, work: .training(sampler: sampler, shards: shards, steps: steps),
            threadCount: threadCount)
    }

    public func evaluation(
        of split: DatasetSplit, rank: Int, rankCount: Int, rows: Int, threadCount: Int
    ) -> DataLoader {
        DataLoader.evaluation(
            sequences: split == .train ? trainForEvaluation : test, rank: rank, rankCount: rankCount, rows: rows,
            threadCount: threadCount)
    }

    public var dataDescription: DTrainCheckpoint.DataDescription {
        DTrainCheckpoint.DataDescription(
            specification: specification.description, sampleCount: trainingSamples, digest: digest,
            sequences: SequenceDescription(data, longest: train.longest))
    }
}

extension SequenceDescription {
    /// What a checkpoint keeps of `data`; `longest` are the tokens of the longest sample, or of a text's windows.
    public init(_ data: SequencePair, longest: Int) {
        let vocabulary = data.vocabulary
        let kind: Kind =
            switch data.content {
            case .names: .names
            case .text: .text
            case .hello: .labelledSteps
            }
        self.init(
            kind: kind, characters: vocabulary.text(of: 0..<Int32(vocabulary.count)),
            folding: vocabulary.folding?.rawValue, longest: longest, classNames: data.classNames)
    }
}

extension Replica.Inputs {
    /// What a loader's batch holds.
    init(_ batch: Batch) {
        switch batch.inputs {
        case .images(let images): self = .values(images)
        case .tokens(let tokens, let sequences): self = .tokens(tokens, sequences)
        }
    }
}
