import DTrainTensor
import Foundation

/// Writes a data set, decoded, into one file that `packed:FILE` opens (`data pack`).
///
/// Samples keep their order and labels. With an image size, the shorter side of a larger image is brought to that
/// length, bilinear with antialiasing, and its proportions stay: all that a random resized crop or a centre crop may
/// want is still there, and the images have different sizes. Smaller images stay as they are.
public struct PackedWriter {
    /// The shorter side of large images afterwards, in pixels; nil keeps all sizes.
    public var imageSize: Int?
    /// Leaves out what cannot be read as a training run would: in the training split another sample takes its place.
    /// Nil makes it an error.
    public var brokenSamples: BrokenSamples?
    /// Threads that decode.
    public var threadCount: Int

    public init(imageSize: Int? = nil, brokenSamples: BrokenSamples? = nil, threadCount: Int = 1) {
        self.imageSize = imageSize
        self.brokenSamples = brokenSamples
        self.threadCount = threadCount
    }

    /// Samples decoded before they are written, for each thread.
    fileprivate static let samplesPerThread = 16

    /// Packs both splits into `path`, which appears, whole and on the disk, at the end; an older file is replaced.
    /// Until then the data are in `path` with `.partial` and this process's id at its end.
    ///
    /// - Parameter progress: called now and then with the number of samples done.
    /// - Returns: the size of the file in bytes.
    /// - Throws: `DataError`.
    @discardableResult
    public func write(_ pair: DatasetPair, to path: String, progress: (Int) -> Void = { _ in }) throws -> Int {
        let partial = "\(path).partial-\(getpid())"
        let output = try PackedOutput(partial)
        do {
            try output.write([UInt8](repeating: 0, count: PackedFormat.headerByteCount))
            var entries: [UInt8] = []
            let pool = ThreadPool(threadCount: threadCount)
            let trainCount = try add(pair.train, to: output, &entries, pool) { progress($0) }
            let testCount = try add(pair.test, to: output, &entries, pool) { progress(trainCount + $0) }
            guard testCount > 0 else { throw DataError.empty(path: pair.test.sampleName(0)) }
            let metadata = try JSONEncoder().encode(
                PackedFormat.Metadata(
                    name: pair.train.name, source: pair.specification.description, imageSize: imageSize,
                    channels: pair.sampleShape[2], trainCount: trainCount, testCount: testCount,
                    trainDigest: pair.train.digest, testDigest: pair.test.digest, classNames: pair.classNames,
                    mean: pair.train.normalisation.mean,
                    standardDeviation: pair.train.normalisation.standardDeviation))
            let header = PackedFormat.Header(
                indexOffset: UInt64(output.byteCount), entryCount: UInt64(trainCount + testCount),
                metadataByteCount: UInt64(metadata.count),
                indexHash: entries.withUnsafeBytes { ContentDigest.hash($0) },
                metadataHash: metadata.withUnsafeBytes { ContentDigest.hash($0) })
            try output.write(entries)
            try output.write([UInt8](metadata))
            try output.finish(beginning: header.bytes, renamedTo: path)
            return output.byteCount
        } catch {
            unlink(partial)
            throw error
        }
    }

    /// Appends one split; the result is its number of samples.
    private func add(
        _ dataset: any ImageDataset, to output: PackedOutput, _ entries: inout [UInt8], _ pool: ThreadPool,
        progress: (Int) -> Void
    ) throws -> Int {
        let transforms: [any Transform] = imageSize.map { [ShorterSide($0)] } ?? []
        let chunk = PackedChunk(
            dataset, transforms: transforms, brokenSamples: brokenSamples,
            capacity: Self.samplesPerThread * threadCount)
        var count = 0
        for start in stride(from: 0, to: dataset.count, by: chunk.slots.count) {
            chunk.range = start..<min(start + chunk.slots.count, dataset.count)
            pool.run(chunk)
            for slot in chunk.slots[..<chunk.range.count] {
                guard let image = try slot.result.get() else { continue }
                PackedFormat.Entry(
                    offset: UInt64(output.byteCount), height: UInt32(image.height), width: UInt32(image.width),
                    label: UInt32(slot.scratch.label), pixelHash: slot.pixelHash
                ).append(to: &entries)
                try output.write(UnsafeRawBufferPointer(image.bytes.bytes))
                count += 1
            }
            progress(chunk.range.upperBound)
        }
        return count
    }
}

/// Some neighbouring samples that the threads of a pool decode together.
private final class PackedChunk: PoolTask {
    final class Slot {
        var scratch = SampleScratch()
        var pixelHash: UInt64 = 0
        /// Nil for a broken sample that is left out.
        var result: Result<PixelBuffer?, any Error> = .success(nil)
    }

    /// The samples of this run.
    var range = 0..<0
    let slots: [Slot]
    private let dataset: any ImageDataset
    private let transforms: [any Transform]
    private let brokenSamples: BrokenSamples?

    init(_ dataset: any ImageDataset, transforms: [any Transform], brokenSamples: BrokenSamples?, capacity: Int) {
        self.dataset = dataset
        self.transforms = transforms
        self.brokenSamples = brokenSamples
        slots = (0..<capacity).map { _ in Slot() }
    }

    func run(thread: Int) {
        let threadCount = slots.count / PackedWriter.samplesPerThread
        for position in stride(from: thread, to: range.count, by: threadCount) {
            let slot = slots[position]
            slot.result = Result {
                let image = try slot.scratch.load(
                    range.lowerBound + position, of: dataset, transforms: transforms, brokenSamples: brokenSamples,
                    replacing: dataset.split == .train)
                if let image { slot.pixelHash = ContentDigest.hash(UnsafeRawBufferPointer(image.bytes.bytes)) }
                return image
            }
        }
    }
}

/// Brings the shorter side of an image to a length if it is longer; the other side follows as in torchvision's
/// `Resize`.
private struct ShorterSide: Transform {
    let appliesInEvaluation = true
    private let length: Int

    init(_ length: Int) { self.length = length }

    func outputShape(of shape: Shape) -> Shape {
        let shorter = min(shape[0], shape[1])
        guard shorter > length else { return shape }
        return [shape[0] * length / shorter, shape[1] * length / shorter, shape[2]]
    }

    func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        let shape = outputShape(of: image.shape)
        resizeBilinear(image, height: shape[0], width: shape[1], into: result)
    }
}
