import DTrainTensor

/// The layout of a packed data set; all numbers are little-endian.
///
/// - The header, 64 bytes, eight words: magic, version, where the index begins, number of entries, bytes of metadata,
///   XXH64 of the index, of the metadata, and of the seven words before.
/// - Pixels, height × width × channel, image after image.
/// - The index, 32 bytes a sample, the training split first: where its pixels begin (word), height and width (half
///   words), label (word), XXH64 of its pixels (word).
/// - The metadata, JSON, to the end of the file.
enum PackedFormat {
    static let headerByteCount = 64
    static let entryByteCount = 32
    /// `dtpacked`.
    static let magic: UInt64 = 0x6465_6B63_6170_7464
    static let version: UInt64 = 1

    struct Header {
        var indexOffset: UInt64
        var entryCount: UInt64
        var metadataByteCount: UInt64
        var indexHash: UInt64
        var metadataHash: UInt64

        /// The header as it stands in the file.
        var bytes: [UInt8] {
            var result: [UInt8] = []
            for word in [
                PackedFormat.magic, PackedFormat.version, indexOffset, entryCount, metadataByteCount, indexHash,
                metadataHash,
            ] { result.append(littleEndian: word) }
            result.append(littleEndian: result.withUnsafeBytes { ContentDigest.hash($0) })
            return result
        }
    }

    /// One sample.
    struct Entry {
        var offset: UInt64
        var height: UInt32
        var width: UInt32
        var label: UInt32
        var pixelHash: UInt64

        func append(to bytes: inout [UInt8]) {
            bytes.append(littleEndian: offset)
            bytes.append(littleEndian: UInt64(height) | UInt64(width) << 32)
            bytes.append(littleEndian: UInt64(label))
            bytes.append(littleEndian: pixelHash)
        }
    }

    /// What is the same for all samples.
    struct Metadata: Codable {
        /// `Dataset.name` of the source.
        var name: String
        /// The specification that was packed.
        var source: String
        /// The length of the shorter sides that are longer in the source; nil where images keep their size.
        var imageSize: Int?
        var channels: Int
        var trainCount: Int
        var testCount: Int
        var trainDigest: String
        var testDigest: String
        var classNames: [String]
        var mean: [Float]
        var standardDeviation: [Float]

        enum CodingKeys: String, CodingKey {
            case name, source, channels, mean
            case imageSize = "image_size", trainCount = "train_count", testCount = "test_count"
            case trainDigest = "train_digest", testDigest = "test_digest", classNames = "class_names"
            case standardDeviation = "standard_deviation"
        }
    }
}

extension [UInt8] {
    mutating func append(littleEndian word: UInt64) {
        for shift in stride(from: 0, to: 64, by: 8) { append(UInt8(truncatingIfNeeded: word >> shift)) }
    }
}
