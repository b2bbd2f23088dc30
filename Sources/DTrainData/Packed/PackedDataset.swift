import DTrainTensor

/// One split of a packed data set: the samples of the data set that was packed, decoded, in the same order.
public struct PackedDataset: ImageDataset {
    public let split: DatasetSplit
    public let sampleShape: Shape
    public let count: Int
    public let normalisation: Normalisation
    private let packed: PackedFile
    /// The index in the file of this split's first sample.
    private let first: Int

    init(_ packed: PackedFile, split: DatasetSplit) {
        let metadata = packed.metadata
        self.packed = packed
        self.split = split
        first = split == .train ? 0 : metadata.trainCount
        count = split == .train ? metadata.trainCount : metadata.testCount
        normalisation = Normalisation(mean: metadata.mean, standardDeviation: metadata.standardDeviation)
        let entry = packed.entry(first)
        sampleShape = [Int(entry.height), Int(entry.width), metadata.channels]
    }

    /// That of the data set that was packed.
    public var name: String { packed.metadata.name }
    public var classNames: [String] { packed.metadata.classNames }
    public var sizesMayDiffer: Bool { packed.sizesDiffer }

    /// That of the data set that was packed, which this one replaces; another where images were resized.
    public var digest: String {
        let source = split == .train ? packed.metadata.trainDigest : packed.metadata.testDigest
        return packed.metadata.imageSize.map { ContentDigest.combining([source, "image size \($0)"]) } ?? source
    }

    public func read(_ index: Int, into image: PixelBuffer) throws -> Int {
        let entry = packed.entry(first + index)
        let pixels = packed.pixels(of: entry)
        guard ContentDigest.hash(pixels) == entry.pixelHash else {
            throw DataError.brokenImage(path: sampleName(index), reason: "its pixels do not have their checksum")
        }
        image.resize(height: Int(entry.height), width: Int(entry.width), channels: packed.metadata.channels)
        image.bytes.bytes.copyMemory(from: pixels)
        return Int(entry.label)
    }

    public func label(of index: Int) -> Int { Int(packed.entry(first + index).label) }

    public func sampleName(_ index: Int) -> String {
        "sample \(index) of the \(split.rawValue) split in \(packed.file.path)"
    }
}
