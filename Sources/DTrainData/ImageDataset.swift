import DTrainTensor

/// Labelled images.
///
/// Pixels are bytes, height × width × channel; the loader makes them fp32 and applies `normalisation`. All samples have
/// the same number of channels. Their sizes may differ: then transforms must make them equal.
public protocol ImageDataset: Dataset {
    /// Height, width, channels of every sample or, where sizes may differ, of the first one.
    var sampleShape: Shape { get }
    /// True where samples may have other sizes than `sampleShape`.
    var sizesMayDiffer: Bool { get }
    var normalisation: Normalisation { get }

    /// Writes the pixels of sample `index` into `image`, which it resizes, and returns the sample's label.
    ///
    /// Several threads may call it at the same time. Throws `DataError` if the sample cannot be read.
    func read(_ index: Int, into image: PixelBuffer) throws -> Int

    /// The label of sample `index`, without its pixels where they are not needed.
    func label(of index: Int) throws -> Int
}

extension ImageDataset {
    public var sizesMayDiffer: Bool { false }

    public func label(of index: Int) throws -> Int { try read(index, into: PixelBuffer()) }

    /// The shape that `transforms` make of a sample; of the first one where sizes differ.
    public func sampleShape(after transforms: [any Transform]) -> Shape {
        transforms.reduce(sampleShape) { $1.outputShape(of: $0) }
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

/// The two splits that a `DataSpecification` opens. They agree in classes, channels and normalisation and, where all
/// samples have one size, in that.
public struct DatasetPair: Sendable {
    public let specification: DataSpecification
    public let train: any ImageDataset
    public let test: any ImageDataset

    public init(specification: DataSpecification, train: any ImageDataset, test: any ImageDataset) {
        precondition(
            train.sampleShape[2] == test.sampleShape[2] && train.classNames == test.classNames
                && train.normalisation == test.normalisation
                && (train.sizesMayDiffer || test.sizesMayDiffer || train.sampleShape == test.sampleShape),
            "the splits of \(specification) do not belong together")
        self.specification = specification
        self.train = train
        self.test = test
    }

    /// Height, width, channels of every sample or, where sizes may differ, of the first training sample.
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

    public subscript(_ split: DatasetSplit) -> any ImageDataset { split == .train ? train : test }
}

/// What a checkpoint remembers of its data: enough to normalise and name classes without them, and to tell others
/// apart.
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
