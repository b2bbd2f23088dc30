import DTrainTensor

/// Data that are missing, damaged, or do not fit together (exit code 3).
public enum DataError: Error, Hashable, Sendable, CustomStringConvertible {
    /// No file under any of the names that it may have.
    case notFound(what: String, tried: [String])
    /// The operating system refuses to open or read it.
    case unreadable(path: String, reason: String)
    /// The file ends before what its header announces. Counts are of the decompressed bytes, header included.
    case truncated(path: String, expectedBytes: Int, actualBytes: Int)
    /// The file goes on after what its header announces. Counts are of the decompressed bytes, header included.
    case trailingBytes(path: String, expectedBytes: Int, actualBytes: Int)
    /// zlib refuses the stream at `byte` of the compressed file.
    case corruptGzip(path: String, byte: Int, reason: String)
    /// The first four bytes are not those of the wanted IDX type.
    case badMagic(path: String, expected: UInt32, actual: UInt32)
    /// `expected` is as people write it: `N×28×28`.
    case wrongDimensions(path: String, expected: String, actual: Shape)
    case empty(path: String)
    /// A selection names a class that the data set does not have.
    case unknownClass(name: String, dataSet: String, valid: [String])
    case countMismatch(imagesPath: String, images: Int, labelsPath: String, labels: Int)
    case labelOutOfRange(path: String, index: Int, label: Int, classCount: Int)
    /// A file of records of `recordBytes` bytes that ends inside one.
    case wrongFileSize(path: String, actualBytes: Int, recordBytes: Int)
    /// A list of class names with another number of names than the data set has classes.
    case wrongClassNames(path: String, expected: Int, actual: Int)
    /// A JPEG or PNG file, or an image in a packed file, that cannot be decoded.
    case brokenImage(path: String, reason: String)
    /// A folder without folders of classes.
    case noClasses(path: String)
    /// A folder of a class without images.
    case emptyClass(path: String)
    /// The classes of two splits differ; each list holds those that the other split lacks.
    case classesDiffer(first: String, second: String, onlyFirst: [String], onlySecond: [String])
    /// A sample that has another shape (height, width, channels) than the model's after all transforms.
    case wrongSampleSize(sample: String, expected: Shape, actual: Shape)
    /// A packed file that is damaged or none.
    case brokenPackedFile(path: String, reason: String)
    /// A folder without files of names.
    case noNameFiles(path: String)
    /// A file of names without one.
    case emptyNameFile(path: String)
    /// A name of which folding leaves nothing. Lines count from 1.
    case emptyName(path: String, line: Int, text: String)
    case nameTooLong(path: String, line: Int, limit: Int)
    /// A class of which the seeded hash puts every name on the other side.
    case classWithoutNames(path: String, className: String, split: DatasetSplit)
    /// Text that is not UTF-8. Bytes count from 0, lines from 1.
    case invalidUTF8(path: String, byte: Int, line: Int, value: UInt8)
    case emptyText(path: String)
    case textTooShort(path: String, characters: Int, needed: Int)
    /// The operating system refuses to write it.
    case unwritable(path: String, reason: String)

    /// Whether the error is about one sample, so that the data set can be used without it (`--skip-broken`).
    package var isAboutOneSample: Bool {
        switch self {
        case .unreadable, .brokenImage: true
        default: false
        }
    }

    public var description: String {
        switch self {
        case .notFound(let what, let tried):
            "cannot find the \(what): tried \(tried.joined(separator: " and ")); "
                + "give the folder that holds the data set's files"
        case .unreadable(let path, let reason):
            "cannot read \(path): \(reason)"
        case .truncated(let path, let expected, let actual):
            "\(path) is truncated: it should hold \(expected) bytes (decompressed) and ends after \(actual); "
                + "download it again"
        case .trailingBytes(let path, let expected, let actual):
            "\(path) is too long: its header announces \(expected) bytes (decompressed) and it holds \(actual); "
                + "download it again"
        case .corruptGzip(let path, let byte, let reason):
            "\(path) is not a sound gzip file: \(reason), at byte \(byte); download it again"
        case .badMagic(let path, let expected, let actual):
            "\(path) does not hold IDX \(Self.kind(expected) ?? "data"): its first four bytes are \(Self.hex(actual))"
                + (Self.kind(actual).map { ", those of \($0)," } ?? "") + " and should be \(Self.hex(expected)); "
                + "check that the right file has this name"
        case .wrongDimensions(let path, let expected, let actual):
            "\(path) has dimensions \(actual); this data set needs \(expected)"
        case .unknownClass(let name, let dataSet, let valid):
            "\(dataSet) has no class '\(name)'\(suggestion(for: name, among: valid)); "
                + "it has \(valid.count): \(valid.prefix(20).joined(separator: ", "))\(valid.count > 20 ? ", …" : "")"
        case .empty(let path):
            "\(path) holds no samples"
        case .countMismatch(let imagesPath, let images, let labelsPath, let labels):
            "\(imagesPath) holds \(images) images but \(labelsPath) holds \(labels) labels; "
                + "use two files of the same data set and split"
        case .labelOutOfRange(let path, let index, let label, let classCount):
            "\(path): label \(index) is \(label); this data set has the labels 0 to \(classCount - 1)"
        case .wrongFileSize(let path, let actual, let record):
            "\(path) has \(actual) bytes, which is no whole number of records of \(record) bytes; download it again"
        case .wrongClassNames(let path, let expected, let actual):
            "\(path) holds \(actual) class names; this data set has \(expected)"
        case .brokenImage(let path, let reason):
            "\(path) cannot be decoded: \(reason); repair or remove it (training leaves such files out with --skip-broken)"
        case .noClasses(let path):
            "\(path) holds no folders; give one folder a class, with its images in it"
        case .emptyClass(let path):
            "\(path) holds no images (files that end in .jpg, .jpeg or .png); remove the folder or fill it"
        case .classesDiffer(let first, let second, let onlyFirst, let onlySecond):
            "the classes of \(first) and \(second) differ"
                + (onlyFirst.isEmpty ? "" : "; only the first has \(Self.list(onlyFirst))")
                + (onlySecond.isEmpty ? "" : "; only the second has \(Self.list(onlySecond))")
        case .wrongSampleSize(let sample, let expected, let actual):
            "\(sample) is \(actual) (height×width×channels) and the model takes \(expected); "
                + "make all samples equal with --image-size or a resizing transform"
        case .brokenPackedFile(let path, let reason):
            "\(path) is no sound packed data set: \(reason); make it again with 'data pack'"
        case .noNameFiles(let path):
            "\(path) holds no files of names; give one file CLASS.txt a class, with one name a line"
        case .emptyNameFile(let path):
            "\(path) holds no names; write one a line, or remove the file"
        case .emptyName(let path, let line, let text):
            "\(path), line \(line): nothing is left of '\(text)' in ASCII; remove the line, or give names:DIR, which keeps "
                + "all characters"
        case .nameTooLong(let path, let line, let limit):
            "\(path), line \(line): the name has more than \(limit) characters; write one name a line"
        case .classWithoutNames(let path, let className, let split):
            "\(path): every name of the class '\(className)' falls into the \(split == .train ? "test" : "training") split, "
                + "which takes about \(split == .train ? "one in five" : "four in five"); give the class more names"
        case .invalidUTF8(let path, let byte, let line, let value):
            "\(path) is not UTF-8 text: byte \(byte) (line \(line)), \(Self.hex(value)), begins no character; "
                + "convert the file to UTF-8"
        case .emptyText(let path):
            "\(path) is empty; give a file with text"
        case .textTooShort(let path, let characters, let needed):
            "\(path) has \(characters) \(characters == 1 ? "character" : "characters"); a text needs at least \(needed)"
        case .unwritable(let path, let reason):
            "cannot write \(path): \(reason)"
        }
    }

    /// The first five of `names`, and how many more there are.
    private static func list(_ names: [String]) -> String {
        names.prefix(5).joined(separator: ", ") + (names.count > 5 ? " and \(names.count - 5) more" : "")
    }

    private static func hex(_ magic: UInt32) -> String {
        let digits = String(magic, radix: 16)
        return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
    }

    private static func hex(_ byte: UInt8) -> String {
        "0x" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
    }

    private static func kind(_ magic: UInt32) -> String? {
        switch magic {
        case IDXFile.imagesMagic: "images"
        case IDXFile.labelsMagic: "labels"
        default: nil
        }
    }
}

/// A wrong request about data: a specification, a transform or a batch size (exit code 2).
public enum DataUsageError: Error, Hashable, Sendable, CustomStringConvertible {
    case unknownDataSet(name: String, specification: String)
    case malformedSpecification(specification: String, form: String, reason: String)
    case unknownAugmentation(name: String)
    case repeatedAugmentation(name: String)
    case malformedAugmentation(text: String, form: String, reason: String)
    /// The samples' sizes differ where this augmentation needs equal ones.
    case augmentationNeedsOneSize(name: String)
    /// What the transforms make of the samples is not what the model wants.
    case wrongImageSize(wanted: Int, actual: Shape)
    /// The global batch has more samples than the training split, or none.
    case batchSize(batchSize: Int, sampleCount: Int)
    /// The global batch cannot give every shard a sample.
    case batchTooSmall(batchSize: Int, ranks: Int, accumulation: Int)
    /// Something that works on images alone, and the data are sequences.
    case needsImages(what: String, specification: String)
    /// A character that the vocabulary does not have. Positions count from 1.
    case unknownCharacter(Unicode.Scalar, position: Int, text: String, vocabulary: Vocabulary)
    /// Text without a character, or without one that folding keeps.
    case emptyText(text: String)
    /// A window of `length` tokens for each of `streams` streams is more than the text has.
    case sequenceTooLong(length: Int, streams: Int, text: String, characters: Int)

    public var description: String {
        switch self {
        case .unknownDataSet(let name, let specification):
            "unknown data set '\(name)' in '\(specification)'"
                + suggestion(for: name, among: DataSpecification.names)
                + "; valid: \(DataSpecification.forms.joined(separator: ", "))"
        case .malformedSpecification(let specification, let form, let reason):
            "cannot understand the data set '\(specification)': \(reason); write it as \(form)"
        case .unknownAugmentation(let name):
            "unknown augmentation '\(name)'" + suggestion(for: name, among: Augmentation.names)
                + "; valid: \(Augmentation.names.joined(separator: ", ")), none"
        case .repeatedAugmentation(let name):
            "augmentation '\(name)' is listed twice; list it once"
        case .malformedAugmentation(let text, let form, let reason):
            "cannot understand the augmentation '\(text)': \(reason); write it as \(form)"
        case .augmentationNeedsOneSize(let name):
            "augmentation '\(name)' needs images of one size, and those of this data set differ; "
                + "name one that fixes the size before it, such as center-crop:224"
        case .wrongImageSize(let wanted, let actual):
            "the augmentations make images of \(actual), but the model takes \(wanted)×\(wanted) pixels; "
                + "change --augment or --image-size"
        case .batchSize(let batchSize, let sampleCount):
            batchSize < 1
                ? "the batch size is \(batchSize); it must be at least 1"
                : "the batch size is \(batchSize), but there are only \(sampleCount) training samples; "
                    + "choose a batch size of at most \(sampleCount)"
        case .batchTooSmall(let batchSize, let ranks, let accumulation):
            "a batch of \(batchSize) samples cannot be shared by \(ranks) \(ranks == 1 ? "rank" : "ranks")"
                + (accumulation > 1 ? " that accumulate \(accumulation) gradients each" : "")
                + "; the batch size is the global one: choose at least \(ranks * accumulation)"
                + (ranks > 1 ? ", or fewer ranks" : "")
        case .needsImages(let what, let specification):
            "\(what) works on images, and \(specification) holds sequences; give data of images"
        case .unknownCharacter(let character, let position, let text, let vocabulary):
            "'\(text)' has \(character.shown) at position \(position), which is none of the \(vocabulary.count) characters "
                + "of the vocabulary; leave it out, or train with data that have it"
        case .emptyText(let text):
            text.allSatisfy(\.isWhitespace)
                ? "the text is empty; give at least one character"
                : "nothing is left of '\(text)' in ASCII; give at least one letter"
        case .sequenceTooLong(let length, let streams, let text, let characters):
            if (characters - 1) / streams >= 1 {
                "a sequence length of \(length) is too long: \(text) has \(characters) characters, which "
                    + "\(streams) streams (the batch size) share; choose --sequence-length \((characters - 1) / streams) "
                    + "or less, or a smaller batch"
            } else {
                "\(text) has \(characters) characters, which is too short for \(streams) streams (the batch size); choose a "
                    + "batch size of at most \(characters - 1)"
            }
        }
    }
}
