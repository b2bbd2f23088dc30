import DTrainTensor

/// Which part of a data set: the one that is trained on, or the one that accuracy is measured on.
public enum DatasetSplit: String, Hashable, Sendable, Codable, CaseIterable {
    case train, test
}

/// Labelled images of one shape that any thread may read in any order.
///
/// Pixels are bytes, height × width × channel; the loader makes them fp32 and applies `normalisation`.
public protocol Dataset: Sendable {
    /// What people call it: `mnist`.
    var name: String { get }
    var split: DatasetSplit { get }
    /// Height, width, channels.
    var sampleShape: Shape { get }
    /// The name of each class; a label is an index into it.
    var classNames: [String] { get }
    /// The number of samples.
    var count: Int { get }
    var normalisation: Normalisation { get }
    /// 16 hexadecimal digits that depend on the decoded content (or on what fully describes it) and on nothing else:
    /// equal on all ranks that see the same data, different where the data differ.
    var digest: String { get }

    /// Writes the pixels of sample `index` into `sample` (`sampleShape.count` bytes) and returns its label.
    ///
    /// Several threads may call it at the same time. Throws `DataError` if the sample cannot be read.
    func read(_ index: Int, into sample: MemorySlice<UInt8>) throws -> Int

    /// The label of sample `index`, without its pixels where they are not needed.
    func label(of index: Int) throws -> Int
}

extension Dataset {
    public var classCount: Int { classNames.count }

    public func label(of index: Int) throws -> Int {
        let scratch = AlignedMemory(byteCount: sampleShape.count)
        return try withExtendedLifetime(scratch) { try read(index, into: scratch.slice()[0..<sampleShape.count]) }
    }

    /// The number of samples of each class.
    public func countPerClass() throws -> [Int] {
        var counts = [Int](repeating: 0, count: classCount)
        for index in 0..<count { counts[try label(of: index)] += 1 }
        return counts
    }
}

/// Mean and standard deviation of each channel, of pixel values scaled to 0 … 1, as PyTorch's `Normalize` takes them.
public struct Normalisation: Hashable, Sendable, Codable {
    public let mean: [Float]
    public let standardDeviation: [Float]

    /// One value of each kind a channel. Standard deviations must be positive.
    public init(mean: [Float], standardDeviation: [Float]) {
        precondition(mean.count == standardDeviation.count, "one mean and one standard deviation a channel")
        precondition(standardDeviation.allSatisfy { $0 > 0 }, "standard deviations must be positive")
        self.mean = mean
        self.standardDeviation = standardDeviation
    }

    /// The normalised value of a byte: (byte / 255 − mean) / standard deviation, rounded as PyTorch rounds it.
    public func value(of byte: UInt8, channel: Int) -> Float {
        (Float(byte) / 255 - mean[channel]) / standardDeviation[channel]
    }
}

/// The two splits that a `DataSpecification` opens. They agree in shape, classes and normalisation.
public struct DatasetPair: Sendable {
    public let specification: DataSpecification
    public let train: any Dataset
    public let test: any Dataset

    public init(specification: DataSpecification, train: any Dataset, test: any Dataset) {
        precondition(
            train.sampleShape == test.sampleShape && train.classNames == test.classNames
                && train.normalisation == test.normalisation, "the splits of \(specification) do not belong together")
        self.specification = specification
        self.train = train
        self.test = test
    }

    public var sampleShape: Shape { train.sampleShape }
    public var classNames: [String] { train.classNames }
    public var classCount: Int { train.classCount }
    /// One digest of both splits: what ranks compare before the first step.
    public var digest: String {
        let parts = [
            train.digest, test.digest, sampleShape.description, train.normalisation.mean.description,
            train.normalisation.standardDeviation.description,
        ]
        return ContentDigest.combining(parts + classNames)
    }
    /// The data set as `state.json` records it.
    public var description: DataDescription {
        DataDescription(
            specification: specification.description, name: train.name, sampleShape: sampleShape.dimensions,
            classNames: classNames, trainCount: train.count, testCount: test.count,
            normalisation: train.normalisation, digest: digest)
    }

    public subscript(_ split: DatasetSplit) -> any Dataset { split == .train ? train : test }
}

/// What a checkpoint remembers of its data: enough to normalise and name classes without them, and to tell others apart.
public struct DataDescription: Hashable, Sendable, Codable {
    /// As `DataSpecification.parse` takes it.
    public let specification: String
    public let name: String
    /// Height, width, channels.
    public let sampleShape: [Int]
    public let classNames: [String]
    public let trainCount: Int
    public let testCount: Int
    public let normalisation: Normalisation
    /// `DatasetPair.digest`.
    public let digest: String

    enum CodingKeys: String, CodingKey {
        case specification, name, normalisation, digest
        case sampleShape = "sample_shape", classNames = "class_names"
        case trainCount = "train_count", testCount = "test_count"
    }
}
