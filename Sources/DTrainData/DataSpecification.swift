import DTrainTensor

/// A data set as `--data` names it.
public indirect enum DataSpecification: Hashable, Sendable, CustomStringConvertible {
    /// `mnist-sample`: 10,000 training and 2,000 test digits inside the program.
    case mnistSample
    /// `mnist:DIR`: the four IDX files of MNIST, plain or gzip.
    case mnist(directory: String)
    /// `fashion-mnist:DIR`: the four IDX files of Fashion-MNIST, plain or gzip.
    case fashionMNIST(directory: String)
    /// `cifar10:DIR`: the binary files of CIFAR-10.
    case cifar10(directory: String)
    /// `cifar100:DIR`: the binary files of CIFAR-100, with its 100 fine labels.
    case cifar100(directory: String)
    /// `images:DIR`: a folder `train/CLASS` and `test/CLASS` of JPEG and PNG files.
    case images(directory: String)
    /// `packed:FILE`: what `data pack` wrote.
    case packed(file: String)
    /// `only:CLASSES@SPEC`: some classes of another data set, by name, number or range of numbers (`only:0-7@cifar10:DIR`).
    case only(classes: [String], of: DataSpecification)
    /// `names-sample`: some thousand surnames of several languages inside the program.
    case namesSample
    /// `hello`: the lecture's one word, "hello", whose letters are to become "ohlol".
    case hello
    /// `names:DIR`: names, one file `CLASS.txt` a class; `names-ascii:DIR` folds them to ASCII.
    case names(directory: String, folding: TextFolding?)
    /// `text-sample`: 100 KB of Shakespeare inside the program.
    case textSample
    /// `text:FILE`: a text, whose next character is to be predicted.
    case text(file: String)
    /// `synthetic:HxWxC,CLASSES`: random images for measuring speed.
    case synthetic(sampleShape: Shape, classCount: Int)

    /// How each kind is written, for help and errors.
    public static let forms = [
        "mnist-sample", "mnist:DIR", "fashion-mnist:DIR", "cifar10:DIR", "cifar100:DIR", "images:DIR", "packed:FILE",
        "only:CLASSES@SPEC", "hello", "names-sample", "names:DIR", "names-ascii:DIR", "text-sample", "text:FILE",
        "synthetic:HxWxC,CLASSES",
    ]
    /// The part of each form before the colon.
    public static let names = forms.map { String($0.prefix { $0 != ":" }) }

    /// Reads `text` as one of `forms`; touches no file.
    ///
    /// Throws `DataUsageError`, with the nearest valid names, if it is none of them.
    public static func parse(_ text: String) throws(DataUsageError) -> DataSpecification {
        let colon = text.firstIndex(of: ":")
        let name = String(text[..<(colon ?? text.endIndex)])
        let argument = colon.map { String(text[text.index(after: $0)...]) }
        switch name {
        case "mnist-sample", "hello", "names-sample", "text-sample":
            guard argument == nil else {
                throw .malformedSpecification(specification: text, form: name, reason: "it takes no folder")
            }
            return switch name {
            case "mnist-sample": .mnistSample
            case "hello": .hello
            case "names-sample": .namesSample
            default: .textSample
            }
        case "mnist": return .mnist(directory: try path(argument, of: text, name))
        case "fashion-mnist": return .fashionMNIST(directory: try path(argument, of: text, name))
        case "cifar10": return .cifar10(directory: try path(argument, of: text, name))
        case "cifar100": return .cifar100(directory: try path(argument, of: text, name))
        case "images": return .images(directory: try path(argument, of: text, name))
        case "packed": return .packed(file: try path(argument, of: text, name))
        case "only":
            guard let argument, let at = argument.firstIndex(of: "@"), at > argument.startIndex else {
                throw .malformedSpecification(
                    specification: text, form: "only:CLASSES@SPEC, for example only:0-7@cifar10:DIR",
                    reason: "it needs classes and a data set")
            }
            let base = try parse(String(argument[argument.index(after: at)...]))
            guard !base.isSequence else {
                throw .malformedSpecification(
                    specification: text, form: "only:CLASSES@SPEC, for example only:0-7@cifar10:DIR",
                    reason: "it chooses among classes of images")
            }
            return .only(classes: argument[..<at].split(separator: ",").map(String.init), of: base)
        case "names": return .names(directory: try path(argument, of: text, name), folding: nil)
        case "names-ascii": return .names(directory: try path(argument, of: text, name), folding: .ascii)
        case "text": return .text(file: try path(argument, of: text, name))
        case "synthetic":
            return try synthetic(argument ?? "", of: text)
        default:
            throw .unknownDataSet(name: name, specification: text)
        }
    }

    /// The form that `parse` reads back.
    public var description: String {
        switch self {
        case .mnistSample: "mnist-sample"
        case .mnist(let directory): "mnist:\(directory)"
        case .fashionMNIST(let directory): "fashion-mnist:\(directory)"
        case .cifar10(let directory): "cifar10:\(directory)"
        case .cifar100(let directory): "cifar100:\(directory)"
        case .images(let directory): "images:\(directory)"
        case .packed(let file): "packed:\(file)"
        case .only(let classes, let base): "only:\(classes.joined(separator: ","))@\(base)"
        case .hello: "hello"
        case .namesSample: "names-sample"
        case .names(let directory, let folding): "names\(folding == .ascii ? "-ascii" : ""):\(directory)"
        case .textSample: "text-sample"
        case .text(let file): "text:\(file)"
        case .synthetic(let shape, let classCount):
            "synthetic:\(shape.dimensions.map(String.init).joined(separator: "x")),\(classCount)"
        }
    }

    /// Whether the samples are sequences of characters; otherwise they are images.
    public var isSequence: Bool {
        switch self {
        case .hello, .namesSample, .names, .textSample, .text: true
        default: false
        }
    }
    /// Whether it is one text, which is read in order.
    public var isText: Bool {
        switch self {
        case .textSample, .text: true
        default: false
        }
    }

    /// Opens both splits. Throws `DataError` if files are missing or damaged.
    public func open() throws(DataError) -> OpenedData {
        let sequences: SequencePair.Content
        switch self {
        case .hello: sequences = .hello(train: HelloDataset(.train), test: HelloDataset(.test))
        case .namesSample:
            let splits = try NameDataset.embeddedSample()
            sequences = .names(train: splits.train, test: splits.test)
        case .names(let directory, let folding):
            let splits = try NameDataset.open(directory: directory, folding: folding)
            sequences = .names(train: splits.train, test: splits.test)
        case .textSample:
            let splits = try TextDataset.embeddedSample()
            sequences = .text(train: splits.train, test: splits.test)
        case .text(let file):
            let splits = try TextDataset.open(path: file)
            sequences = .text(train: splits.train, test: splits.test)
        default:
            let splits = try openSplits()
            return .images(DatasetPair(specification: self, train: splits.train, test: splits.test))
        }
        return .sequences(SequencePair(specification: self, content: sequences))
    }

    /// Opens images. Throws `DataError`, and `DataUsageError.needsImages` if it names sequences.
    public func openImages() throws -> DatasetPair { try open().images(for: "this") }

    private func openSplits() throws(DataError) -> (train: any ImageDataset, test: any ImageDataset) {
        switch self {
        case .mnistSample:
            return (try IDXDataset.embeddedSample(.train), try IDXDataset.embeddedSample(.test))
        case .mnist(let directory):
            return (
                try IDXDataset(.mnist, split: .train, directory: directory),
                try IDXDataset(.mnist, split: .test, directory: directory)
            )
        case .fashionMNIST(let directory):
            return (
                try IDXDataset(.fashionMNIST, split: .train, directory: directory),
                try IDXDataset(.fashionMNIST, split: .test, directory: directory)
            )
        case .cifar10(let directory):
            return (
                try CIFARDataset(.cifar10, split: .train, directory: directory),
                try CIFARDataset(.cifar10, split: .test, directory: directory)
            )
        case .cifar100(let directory):
            return (
                try CIFARDataset(.cifar100, split: .train, directory: directory),
                try CIFARDataset(.cifar100, split: .test, directory: directory)
            )
        case .images(let directory):
            return try ImageFolder.open(directory: directory)
        case .packed(let file):
            let packed = try PackedFile(path: file)
            return (PackedDataset(packed, split: .train), PackedDataset(packed, split: .test))
        case .only(let classes, let base):
            let splits = try base.openSplits()
            return (try SelectedClasses(splits.train, classes), try SelectedClasses(splits.test, classes))
        case .synthetic(let shape, let classCount):
            return (
                SyntheticDataset(split: .train, sampleShape: shape, classCount: classCount),
                SyntheticDataset(split: .test, sampleShape: shape, classCount: classCount)
            )
        case .hello, .namesSample, .names, .textSample, .text:
            preconditionFailure("\(self) holds sequences, no images")
        }
    }

    /// What follows the colon in the form that begins with `name`.
    private static func path(_ argument: String?, of text: String, _ name: String) throws(DataUsageError) -> String {
        guard let argument, !argument.isEmpty else {
            let form = forms.first { $0.hasPrefix(name + ":") }!
            throw .malformedSpecification(
                specification: text, form: form, reason: "the \(form.hasSuffix("FILE") ? "file" : "folder") is missing")
        }
        return argument
    }

    /// `HxWxC,CLASSES`, all positive, at most 2²⁴ bytes an image so that a slip of the pen does not fill the memory.
    private static func synthetic(_ argument: String, of text: String) throws(DataUsageError) -> DataSpecification {
        func malformed(_ reason: String) -> DataUsageError {
            .malformedSpecification(
                specification: text, form: "\(forms.last!), for example synthetic:64x64x3,10", reason: reason)
        }
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        guard parts.count == 2 else { throw malformed("it needs an image size and a number of classes") }
        let extents = parts[0].split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        guard extents.count == 3, extents.allSatisfy({ $0 > 0 }) else {
            throw malformed("'\(parts[0])' is no height, width and number of channels")
        }
        guard extents.allSatisfy({ $0 <= 1 << 24 }), extents.reduce(1, *) <= 1 << 24 else {
            throw malformed("an image of '\(parts[0])' has more than \(1 << 24) values")
        }
        guard let classCount = Int(parts[1]), classCount > 0, classCount <= 1 << 20 else {
            throw malformed("'\(parts[1])' is no number of classes")
        }
        return .synthetic(sampleShape: Shape(extents), classCount: classCount)
    }
}
