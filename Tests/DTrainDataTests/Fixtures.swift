internal import CZlib
import DTrainData
import DTrainTensor
import Foundation
import Testing

/// The pixels and the label of one sample.
func pixels(_ dataset: any ImageDataset, _ index: Int) throws -> (pixels: [UInt8], label: Int) {
    let image = PixelBuffer()
    let label = try dataset.read(index, into: image)
    return (image.array(), label)
}

extension PixelBuffer {
    /// A copy of the image's bytes; the buffer lives until it is made.
    func array() -> [UInt8] { withExtendedLifetime(self) { bytes.array() } }
}

/// A folder that disappears with its owner.
final class TemporaryFolder {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "dtrain-data-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file below the folder, and the folders it is in.
    @discardableResult func write(_ bytes: [UInt8], _ name: String) throws -> String {
        let file = URL(fileURLWithPath: "\(path)/\(name)")
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: file)
        return file.path
    }
}

/// An IDX file of unsigned bytes, by the book: magic, dimensions, elements.
func idx(_ dimensions: [Int], _ elements: [UInt8]) -> [UInt8] {
    let words = [0x800 + dimensions.count] + dimensions
    return words.flatMap { word in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> $0) } } + elements
}

/// The four files of a small MNIST: `count` images whose pixel p of sample i is (i × 7 + p) mod 256, labels i mod 10.
struct SmallMNIST {
    var trainImages: [UInt8]
    var trainLabels: [UInt8]
    var testImages: [UInt8]
    var testLabels: [UInt8]

    init(trainCount: Int = 12, testCount: Int = 5) {
        func images(_ count: Int) -> [UInt8] {
            idx([count, 28, 28], (0..<count * 784).map { UInt8(truncatingIfNeeded: $0 / 784 * 7 + $0 % 784) })
        }
        func labels(_ count: Int) -> [UInt8] { idx([count], (0..<count).map { UInt8($0 % 10) }) }
        trainImages = images(trainCount)
        trainLabels = labels(trainCount)
        testImages = images(testCount)
        testLabels = labels(testCount)
    }

    func write(to folder: TemporaryFolder, gzipped: Bool = false) throws {
        for (name, bytes) in [
            ("train-images-idx3-ubyte", trainImages), ("train-labels-idx1-ubyte", trainLabels),
            ("t10k-images-idx3-ubyte", testImages), ("t10k-labels-idx1-ubyte", testLabels),
        ] {
            try folder.write(gzipped ? gzip(bytes) : bytes, gzipped ? name + ".gz" : name)
        }
    }
}

/// `bytes` as one gzip member.
func gzip(_ bytes: [UInt8]) -> [UInt8] {
    var stream = z_stream()
    let size = Int32(MemoryLayout<z_stream>.size)
    precondition(deflateInit2_(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, size) == Z_OK)
    var input = bytes
    var output = [UInt8](repeating: 0, count: Int(deflateBound(&stream, UInt(bytes.count))) + 32)
    let written = input.withUnsafeMutableBufferPointer { input in
        output.withUnsafeMutableBufferPointer { output in
            stream.next_in = input.baseAddress
            stream.avail_in = UInt32(input.count)
            stream.next_out = output.baseAddress
            stream.avail_out = UInt32(output.count)
            precondition(deflate(&stream, Z_FINISH) == Z_STREAM_END)
            return output.count - Int(stream.avail_out)
        }
    }
    deflateEnd(&stream)
    return Array(output[0..<written])
}

/// A data set whose sample i has the pixels i mod 256 and i / 256 and the label i mod 7; it counts its reads, and can be
/// slow or fail at one sample.
final class NumberedDataset: ImageDataset, @unchecked Sendable {
    struct BadSample: Error, Equatable { let index: Int }

    let name = "numbered"
    let split = DatasetSplit.train
    let sampleShape: Shape = [1, 2, 1]
    let classNames = (0..<7).map { "class \($0)" }
    let count: Int
    let normalisation = Normalisation(mean: [0.25], standardDeviation: [0.5])
    let digest = "0123456789abcdef"
    private let secondsPerRead: Double
    private let failingIndex: Int?
    private let lock = NSLock()
    private var reads = 0

    init(count: Int, secondsPerRead: Double = 0, failingAt failingIndex: Int? = nil) {
        self.count = count
        self.secondsPerRead = secondsPerRead
        self.failingIndex = failingIndex
    }

    var readCount: Int { lock.withLock { reads } }

    func read(_ index: Int, into image: PixelBuffer) throws -> Int {
        if secondsPerRead > 0 { usleep(UInt32(secondsPerRead * 1e6)) }
        if index == failingIndex { throw BadSample(index: index) }
        image.resize(to: sampleShape)
        image.bytes[0] = UInt8(index % 256)
        image.bytes[1] = UInt8(index / 256)
        lock.withLock { reads += 1 }
        return index % 7
    }
}

/// The index of the sample in `row` of a batch of a `NumberedDataset`, read back from its normalised pixels.
func sampleIndex(_ batch: Batch, _ row: Int) -> Int {
    func byte(_ value: Float) -> Int { Int(((value * 0.5 + 0.25) * 255).rounded()) }
    return byte(batch.images[2 * row]) + 256 * byte(batch.images[2 * row + 1])
}

/// All samples that a loader delivers, batch by batch.
func drain(_ loader: DataLoader) throws -> [(item: WorkItem, samples: [Int], labels: [Int32])] {
    var result: [(item: WorkItem, samples: [Int], labels: [Int32])] = []
    while let batch = try loader.next() {
        result.append((batch.item, (0..<batch.rows).map { sampleIndex(batch, $0) }, batch.labels.array()))
    }
    return result
}

/// The folder of real data sets, if this machine has one: `DTRAIN_SHARED_DATA`, or `../shared/data` beside the package.
enum SharedData {
    static let folder: String =
        ProcessInfo.processInfo.environment["DTRAIN_SHARED_DATA"]
        ?? URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("shared/data").path
    static var mnist: String { folder + "/mnist" }
    static var hasMNIST: Bool { FileManager.default.fileExists(atPath: mnist) }
}
