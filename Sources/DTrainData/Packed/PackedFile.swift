import DTrainTensor
import Foundation

/// A packed data set, mapped into memory and checked: everything but the pixels, whose checksums are compared when they
/// are read.
struct PackedFile: Sendable {
    let metadata: PackedFormat.Metadata
    /// True where not all samples have one size.
    let sizesDiffer: Bool
    let file: MappedFile
    private let indexOffset: Int

    /// Throws `DataError.unreadable`, or `DataError.brokenPackedFile` that says what is wrong.
    init(path: String) throws(DataError) {
        file = try MappedFile(path: path)
        do throws(Problem) {
            let header = try Self.header(of: file)
            indexOffset = header.indexOffset
            metadata = try Self.metadata(of: file, header)
            sizesDiffer = try Self.checkEntries(of: file, header, metadata)
        } catch {
            throw .brokenPackedFile(path: path, reason: error.reason)
        }
    }

    /// One sample: its index counts from the first training sample.
    func entry(_ index: Int) -> PackedFormat.Entry { Self.entry(index, of: file, from: indexOffset) }

    func pixels(of entry: PackedFormat.Entry) -> UnsafeRawBufferPointer {
        let byteCount = Int(entry.height) * Int(entry.width) * metadata.channels
        return file[Int(entry.offset)..<Int(entry.offset) + byteCount]
    }

    // MARK: Checks

    /// What is wrong with a file.
    private struct Problem: Error { let reason: String }

    private struct Header {
        let indexOffset: Int
        let entryCount: Int
        let metadataRange: Range<Int>
        let metadataHash: UInt64
    }

    private static func word(_ offset: Int, of file: MappedFile) -> UInt64 {
        UInt64(littleEndian: file.bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    private static func header(of file: MappedFile) throws(Problem) -> Header {
        let byteCount = file.bytes.count
        guard byteCount >= 8, word(0, of: file) == PackedFormat.magic else {
            throw Problem(reason: "it does not begin with 'dtpacked'")
        }
        guard byteCount >= PackedFormat.headerByteCount else { throw Problem(reason: "it ends in its header") }
        let words = (0..<8).map { word(8 * $0, of: file) }
        guard words[1] == PackedFormat.version else {
            throw Problem(reason: "it has format version \(words[1]), this program reads \(PackedFormat.version)")
        }
        guard words[7] == ContentDigest.hash(file[0..<56]) else { throw Problem(reason: "its header is damaged") }
        let limit = UInt64(byteCount)
        guard words[2] >= UInt64(PackedFormat.headerByteCount), words[2] <= limit,
            words[3] <= (limit - words[2]) / UInt64(PackedFormat.entryByteCount),
            words[4] == limit - words[2] - words[3] * UInt64(PackedFormat.entryByteCount)
        else { throw Problem(reason: "its length of \(byteCount) bytes is not what its header announces") }
        let metadataOffset = Int(words[2]) + Int(words[3]) * PackedFormat.entryByteCount
        guard words[5] == ContentDigest.hash(file[Int(words[2])..<metadataOffset]) else {
            throw Problem(reason: "its index is damaged")
        }
        return Header(
            indexOffset: Int(words[2]), entryCount: Int(words[3]), metadataRange: metadataOffset..<byteCount,
            metadataHash: words[6])
    }

    private static func metadata(
        of file: MappedFile, _ header: Header
    ) throws(Problem) -> PackedFormat.Metadata {
        let bytes = file[header.metadataRange]
        guard header.metadataHash == ContentDigest.hash(bytes),
            let metadata = try? JSONDecoder().decode(PackedFormat.Metadata.self, from: Data(bytes))
        else { throw Problem(reason: "its metadata are damaged") }
        guard metadata.trainCount > 0, metadata.testCount > 0, metadata.trainCount <= header.entryCount,
            header.entryCount - metadata.trainCount == metadata.testCount
        else {
            throw Problem(
                reason: "it holds \(header.entryCount) samples, not \(metadata.trainCount) and \(metadata.testCount)")
        }
        guard (1...64).contains(metadata.channels), metadata.mean.count == metadata.channels,
            metadata.standardDeviation.count == metadata.channels, metadata.mean.allSatisfy(\.isFinite),
            metadata.standardDeviation.allSatisfy({ $0 > 0 && $0.isFinite }), !metadata.classNames.isEmpty
        else { throw Problem(reason: "its channels, normalisation and classes do not fit together") }
        return metadata
    }

    private static func entry(_ index: Int, of file: MappedFile, from indexOffset: Int) -> PackedFormat.Entry {
        let start = indexOffset + index * PackedFormat.entryByteCount
        let size = word(start + 8, of: file)
        return PackedFormat.Entry(
            offset: word(start, of: file), height: UInt32(truncatingIfNeeded: size),
            width: UInt32(truncatingIfNeeded: size >> 32), label: UInt32(clamping: word(start + 16, of: file)),
            pixelHash: word(start + 24, of: file))
    }

    /// Whether sizes differ. Throws for an entry that points out of the pixels, or whose label is no class.
    private static func checkEntries(
        of file: MappedFile, _ header: Header, _ metadata: PackedFormat.Metadata
    ) throws(Problem) -> Bool {
        let end = UInt64(header.indexOffset)
        let first = entry(0, of: file, from: header.indexOffset)
        var differ = false
        for index in 0..<header.entryCount {
            let entry = entry(index, of: file, from: header.indexOffset)
            let pixelCount = UInt64(entry.height) * UInt64(entry.width)
            guard pixelCount > 0, entry.offset >= UInt64(PackedFormat.headerByteCount), entry.offset <= end,
                pixelCount <= (end - entry.offset) / UInt64(metadata.channels)
            else { throw Problem(reason: "the pixels of sample \(index) lie outside of it") }
            guard entry.label < metadata.classNames.count else {
                throw Problem(
                    reason: "sample \(index) has label \(entry.label) of \(metadata.classNames.count) classes")
            }
            if entry.height != first.height || entry.width != first.width { differ = true }
        }
        return differ
    }
}
