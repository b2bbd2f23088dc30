import DTrainTensor
internal import CSamples

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A data set of two IDX files held in memory: MNIST, Fashion-MNIST.
public struct IDXDataset: ImageDataset {
    /// What distinguishes the data sets that come as IDX files.
    public struct Kind: Hashable, Sendable {
        public let name: String
        /// As it is written in prose.
        public let title: String
        public let classNames: [String]
        public let normalisation: Normalisation

        /// Handwritten digits (LeCun et al. 1998). Mean and standard deviation of the 60,000 training images, as
        /// PyTorch's examples publish them.
        public static let mnist = Kind(
            name: "mnist", title: "MNIST", classNames: (0...9).map(String.init),
            normalisation: Normalisation(mean: [0.1307], standardDeviation: [0.3081]))
        /// Articles of clothing (Xiao, Rasul, Vollgraf 2017). Mean and standard deviation of the training images.
        public static let fashionMNIST = Kind(
            name: "fashion-mnist", title: "Fashion-MNIST",
            classNames: [
                "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
                "Ankle boot",
            ],
            normalisation: Normalisation(mean: [0.2860], standardDeviation: [0.3530]))
    }

    public let name: String
    public let split: DatasetSplit
    public let sampleShape: Shape = [28, 28, 1]
    public let classNames: [String]
    public let normalisation: Normalisation
    public let digest: String
    public var count: Int { images.dimensions[0] }
    private let images: IDXFile
    private let labels: IDXFile

    /// Reads `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, or `t10k-…`, from `directory`; where a plain file
    /// is missing, the one with `.gz` appended.
    ///
    /// Throws `DataError` if a file is missing or damaged, or the two do not belong together.
    public init(_ kind: Kind, split: DatasetSplit, directory: String) throws(DataError) {
        let prefix = split == .train ? "train" : "t10k"
        func find(_ file: String, _ content: String) throws(DataError) -> ByteSource {
            let what = "\(split == .train ? "training" : "test") \(content) of \(kind.title)"
            return try Self.open(directory: directory, file: "\(prefix)-\(file)", what: what)
        }
        try self.init(
            kind, name: kind.name, split: split, images: find("images-idx3-ubyte", "images"),
            labels: find("labels-idx1-ubyte", "labels"))
    }

    /// The digits inside the program: the first 10,000 training and the first 2,000 test digits of MNIST.
    public static func embeddedSample(_ split: DatasetSplit) throws(DataError) -> IDXDataset {
        func source(_ file: dt_sample_file, _ name: String) throws(DataError) -> ByteSource {
            try ByteSource(
                memory: UnsafeRawBufferPointer(start: file.bytes, count: file.byte_count), name: "embedded \(name)")
        }
        let isTraining = split == .train
        return try IDXDataset(
            .mnist, name: "mnist-sample", split: split,
            images: source(
                isTraining ? dt_sample_mnist_train_images() : dt_sample_mnist_test_images(), "\(split.rawValue) images"),
            labels: source(
                isTraining ? dt_sample_mnist_train_labels() : dt_sample_mnist_test_labels(), "\(split.rawValue) labels")
        )
    }

    init(
        _ kind: Kind, name: String, split: DatasetSplit, images imageSource: ByteSource, labels labelSource: ByteSource
    ) throws(DataError) {
        self.name = name
        self.split = split
        classNames = kind.classNames
        normalisation = kind.normalisation
        images = try IDXFile(imageSource, magic: IDXFile.imagesMagic, tail: [28, 28])
        labels = try IDXFile(labelSource, magic: IDXFile.labelsMagic, tail: [])
        guard images.dimensions[0] == labels.dimensions[0] else {
            throw .countMismatch(
                imagesPath: images.path, images: images.dimensions[0], labelsPath: labels.path,
                labels: labels.dimensions[0])
        }
        if let index = labels.bytes.buffer.firstIndex(where: { Int($0) >= kind.classNames.count }) {
            throw .labelOutOfRange(
                path: labels.path, index: index, label: Int(labels.bytes[index]), classCount: kind.classNames.count)
        }
        digest = ContentDigest.combining([
            images.dimensions.description, ContentDigest.text(images.contentHash),
            ContentDigest.text(labels.contentHash),
        ])
    }

    public func read(_ index: Int, into image: PixelBuffer) throws -> Int {
        let size = sampleShape.count
        image.resize(to: sampleShape)
        image.bytes.copy(from: images.bytes[index * size..<(index + 1) * size])
        return label(of: index)
    }

    public func label(of index: Int) -> Int { Int(labels.bytes[index]) }

    private static func open(directory: String, file: String, what: String) throws(DataError) -> ByteSource {
        let base = directory.hasSuffix("/") ? directory + file : "\(directory)/\(file)"
        let tried = [base, base + ".gz"]
        guard let path = tried.first(where: { access($0, F_OK) == 0 }) else {
            throw .notFound(what: what, tried: tried)
        }
        return try ByteSource(path: path)
    }
}
