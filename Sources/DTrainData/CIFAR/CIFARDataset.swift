import DTrainTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One split of CIFAR-10 or CIFAR-100 (Krizhevsky 2009), from its binary files, held in memory.
///
/// A record is one label byte (of CIFAR-100 two: the coarse label, which is not used, and the fine one) and 3072 bytes:
/// 32 × 32 pixels of red, then of green, then of blue (www.cs.toronto.edu/~kriz/cifar.html).
public struct CIFARDataset: ImageDataset {
    /// What distinguishes the two data sets.
    public struct Kind: Hashable, Sendable {
        public let name: String
        /// As it is written in prose.
        let title: String
        /// The folder in the archive that the files come in.
        let archiveFolder: String
        let trainFiles: [String]
        let testFile: String
        /// The file with one class name a line.
        let namesFile: String
        /// The names where that file is missing.
        let classNames: [String]
        /// The label that counts is the last of these bytes.
        let labelByteCount: Int
        public let normalisation: Normalisation

        /// Mean and standard deviation of the 50,000 training images.
        public static let cifar10 = Kind(
            name: "cifar10", title: "CIFAR-10", archiveFolder: "cifar-10-batches-bin",
            trainFiles: (1...5).map { "data_batch_\($0).bin" }, testFile: "test_batch.bin",
            namesFile: "batches.meta.txt", classNames: CIFARNames.cifar10, labelByteCount: 1,
            normalisation: Normalisation(
                mean: [0.4914, 0.4822, 0.4465], standardDeviation: [0.2470, 0.2435, 0.2616]))
        /// Mean and standard deviation of the 50,000 training images.
        public static let cifar100 = Kind(
            name: "cifar100", title: "CIFAR-100", archiveFolder: "cifar-100-binary", trainFiles: ["train.bin"],
            testFile: "test.bin", namesFile: "fine_label_names.txt", classNames: CIFARNames.cifar100, labelByteCount: 2,
            normalisation: Normalisation(
                mean: [0.5071, 0.4865, 0.4409], standardDeviation: [0.2673, 0.2564, 0.2762]))
    }

    public let name: String
    public let split: DatasetSplit
    public let sampleShape: Shape = [32, 32, 3]
    public let classNames: [String]
    public let normalisation: Normalisation
    public let digest: String
    public let count: Int
    /// Sample × row × column × channel.
    private let pixels: AlignedMemory
    private let labels: [UInt8]

    private static let planeByteCount = 32 * 32
    private static let pixelByteCount = 3 * planeByteCount

    /// Reads the files of `split` from `directory`, or from the folder of the archive in it.
    ///
    /// Throws `DataError` if a file is missing, has no whole number of records, or a label is out of range.
    public init(_ kind: Kind, split: DatasetSplit, directory: String) throws(DataError) {
        let base = directory.hasSuffix("/") ? directory : directory + "/"
        let folders = [base, "\(base)\(kind.archiveFolder)/"]
        let names = split == .train ? kind.trainFiles : [kind.testFile]
        guard let folder = folders.first(where: { access($0 + names[0], F_OK) == 0 }) else {
            throw .notFound(
                what: "\(split == .train ? "training" : "test") samples of \(kind.title)",
                tried: folders.map { $0 + names[0] })
        }
        var files: [MappedFile] = []
        for name in names { files.append(try MappedFile(path: folder + name)) }

        self.name = kind.name
        self.split = split
        normalisation = kind.normalisation
        classNames = try Self.classNames(of: kind, folder: folder)
        let recordByteCount = kind.labelByteCount + Self.pixelByteCount
        for file in files {
            guard !file.bytes.isEmpty else { throw .empty(path: file.path) }
            guard file.bytes.count % recordByteCount == 0 else {
                throw .wrongFileSize(path: file.path, actualBytes: file.bytes.count, recordBytes: recordByteCount)
            }
        }
        count = files.reduce(0) { $0 + $1.bytes.count / recordByteCount }
        pixels = AlignedMemory(byteCount: count * Self.pixelByteCount)
        var labels: [UInt8] = []
        labels.reserveCapacity(count)
        for file in files {
            for record in 0..<file.bytes.count / recordByteCount {
                let start = record * recordByteCount
                let label = file.bytes[start + kind.labelByteCount - 1]
                guard label < classNames.count else {
                    throw .labelOutOfRange(
                        path: file.path, index: record, label: Int(label), classCount: classNames.count)
                }
                Self.interleave(
                    file.bytes.baseAddress! + start + kind.labelByteCount,
                    into: pixels.slice(of: UInt8.self).base + labels.count * Self.pixelByteCount)
                labels.append(label)
            }
        }
        self.labels = labels
        digest = ContentDigest.combining([
            ContentDigest.text(ContentDigest.hash(UnsafeRawBufferPointer(pixels.slice(of: UInt8.self).bytes))),
            labels.withUnsafeBytes { ContentDigest.text(ContentDigest.hash($0)) },
        ])
    }

    public func read(_ index: Int, into image: PixelBuffer) throws -> Int {
        image.resize(to: sampleShape)
        image.bytes.copy(from: pixels.slice()[index * Self.pixelByteCount..<(index + 1) * Self.pixelByteCount])
        return label(of: index)
    }

    public func label(of index: Int) -> Int { Int(labels[index]) }

    /// Three planes to three bytes a pixel.
    private static func interleave(_ planes: UnsafeRawPointer, into pixels: UnsafeMutablePointer<UInt8>) {
        let planes = planes.assumingMemoryBound(to: UInt8.self)
        for pixel in 0..<planeByteCount {
            pixels[3 * pixel] = planes[pixel]
            pixels[3 * pixel + 1] = planes[planeByteCount + pixel]
            pixels[3 * pixel + 2] = planes[2 * planeByteCount + pixel]
        }
    }

    /// The names in the data set's own list; the known ones where it is missing.
    private static func classNames(of kind: Kind, folder: String) throws(DataError) -> [String] {
        let path = folder + kind.namesFile
        guard access(path, F_OK) == 0 else { return kind.classNames }
        let file = try MappedFile(path: path)
        let names = file.bytes.split(separator: UInt8(ascii: "\n"))
            .map { String(decoding: $0.filter { $0 != UInt8(ascii: "\r") }, as: UTF8.self) }.filter { !$0.isEmpty }
        guard names.count == kind.classNames.count else {
            throw .wrongClassNames(path: path, expected: kind.classNames.count, actual: names.count)
        }
        return names
    }
}
