import DTrainTensor
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One split of a folder of images, `train/CLASS/*.jpg` and `test/CLASS/*.png`, decoded when they are read.
///
/// Classes and files are sorted by the bytes of their names. The files are listed once, at opening. The digest is of
/// class names, relative paths and sizes in bytes: it takes no look into the files, so that it is quick for a million
/// of them.
public struct ImageFolder: ImageDataset {
    public let name = "images"
    public let split: DatasetSplit
    /// Of the first file that can be read; the others are as large as they are.
    public let sampleShape: Shape
    public let sizesMayDiffer = true
    public let classNames: [String]
    public let normalisation = ImageFolder.imageNet
    public let digest: String
    public var count: Int { files.count }
    private let files: ImageFiles
    private let decoders = DecoderPool()

    /// Mean and standard deviation of ImageNet's training images, as torchvision's models take them.
    public static let imageNet = Normalisation(
        mean: [0.485, 0.456, 0.406], standardDeviation: [0.229, 0.224, 0.225])

    /// Lists the images of one split below `directory`; `val` may stand for `test`, as in ImageNet's layout.
    ///
    /// Throws `DataError` if there is no such folder, no class, a class without images, or, among the first
    /// `BrokenSamples.longestRun` files, none whose header can be read.
    public init(directory: String, split: DatasetSplit) throws(DataError) {
        let folder = try Self.folder(of: split, below: directory)
        let files = try ImageFiles(folder: folder)
        self.split = split
        self.files = files
        classNames = files.classNames
        digest = files.digest
        let decoder = ImageDecoder()
        var first: DataError?
        for index in 0..<min(files.count, BrokenSamples.longestRun) {
            do throws(DataError) {
                let size = try decoder.size(path: files.path(index))
                sampleShape = [size.height, size.width, 3]
                return
            } catch {
                first = first ?? error
            }
        }
        throw first!
    }

    /// Both splits. Throws `DataError`, also if their classes differ.
    static func open(directory: String) throws(DataError) -> (train: ImageFolder, test: ImageFolder) {
        let train = try ImageFolder(directory: directory, split: .train)
        let test = try ImageFolder(directory: directory, split: .test)
        guard train.classNames == test.classNames else {
            let known = (Set(train.classNames), Set(test.classNames))
            throw .classesDiffer(
                first: train.files.folder, second: test.files.folder,
                onlyFirst: train.classNames.filter { !known.1.contains($0) },
                onlySecond: test.classNames.filter { !known.0.contains($0) })
        }
        return (train, test)
    }

    public func read(_ index: Int, into image: PixelBuffer) throws -> Int {
        let decoder = decoders.take()
        defer { decoders.giveBack(decoder) }
        try decoder.decode(path: files.path(index), channels: 3, into: image)
        return files.label(index)
    }

    public func label(of index: Int) -> Int { files.label(index) }
    public func sampleName(_ index: Int) -> String { files.displayPath(index) }

    private static func folder(of split: DatasetSplit, below directory: String) throws(DataError) -> String {
        let base = directory.hasSuffix("/") ? directory : directory + "/"
        let tried = (split == .train ? ["train"] : ["test", "val"]).map { base + $0 }
        guard let folder = tried.first(where: { access($0, F_OK) == 0 }) else {
            throw .notFound(what: "\(split == .train ? "training" : "test") images", tried: tried)
        }
        return folder
    }
}

/// Decoders that wait for the next image: as many as threads have read at the same time.
private final class DecoderPool: Sendable {
    /// A decoder belongs to one thread from `take` to `giveBack`.
    private struct Idle: @unchecked Sendable { var decoders: [ImageDecoder] = [] }
    private let idle = Mutex(Idle())

    func take() -> ImageDecoder {
        let decoder = idle.withLock { Held(decoder: $0.decoders.popLast()) }.decoder
        return decoder ?? ImageDecoder()
    }

    func giveBack(_ decoder: ImageDecoder) {
        let held = Held(decoder: decoder)
        idle.withLock { $0.decoders.append(held.decoder!) }
    }

    private struct Held: @unchecked Sendable { let decoder: ImageDecoder? }
}
