import DTrainTensor

/// An IDX file (LeCun, Cortes, Burges, "The MNIST database": file formats): a magic number that holds the element type
/// and the number of dimensions, the dimensions, all big-endian 32-bit words, and the elements in row-major order.
struct IDXFile {
    /// Unsigned bytes in three dimensions: sample, row, column.
    static let imagesMagic: UInt32 = 0x0000_0803
    /// Unsigned bytes in one dimension.
    static let labelsMagic: UInt32 = 0x0000_0801

    let path: String
    let dimensions: Shape
    /// The elements, one byte each.
    let memory: AlignedMemory
    var bytes: MemorySlice<UInt8> { memory.slice()[0..<dimensions.count] }
    /// The hash of the elements.
    var contentHash: UInt64 { ContentDigest.hash(UnsafeRawBufferPointer(bytes.bytes)) }

    /// Reads the whole of `source`. `tail` is what the dimensions after the first must be.
    ///
    /// Throws `DataError` if the file is empty, short, long, damaged, or of another type or size.
    init(_ source: ByteSource, magic: UInt32, tail: [Int]) throws(DataError) {
        path = source.path
        let headerByteCount = 4 + 4 * (1 + tail.count)
        let headerMemory = AlignedMemory(byteCount: headerByteCount)
        defer { withExtendedLifetime(headerMemory) {} }
        let header = headerMemory.slice(of: UInt32.self)
        let headerRead = try source.read(into: header.bytes)
        let actualMagic = UInt32(bigEndian: header[0])
        guard headerRead < 4 || actualMagic == magic else {
            throw .badMagic(path: path, expected: magic, actual: actualMagic)
        }
        guard headerRead == headerByteCount else {
            throw .truncated(path: path, expectedBytes: headerByteCount, actualBytes: headerRead)
        }
        dimensions = Shape(header.array().dropFirst().map { Int(UInt32(bigEndian: $0)) })
        guard Array(dimensions.dimensions.dropFirst()) == tail else {
            let expected = (["N"] + tail.map(String.init)).joined(separator: "×")
            throw .wrongDimensions(path: path, expected: expected, actual: dimensions)
        }
        guard dimensions.count > 0 else { throw .empty(path: path) }

        let expected = headerByteCount + dimensions.count
        guard expected <= source.maximumByteCount else {
            throw .truncated(path: path, expectedBytes: expected, actualBytes: headerByteCount + (try source.drain()))
        }
        memory = AlignedMemory(byteCount: dimensions.count)
        let actual = headerByteCount + (try source.read(into: memory.slice(of: UInt8.self)[0..<dimensions.count].bytes))
        guard actual == expected else {
            throw .truncated(path: path, expectedBytes: expected, actualBytes: actual)
        }
        let excess = try source.drain()
        guard excess == 0 else {
            throw .trailingBytes(path: path, expectedBytes: expected, actualBytes: expected + excess)
        }
        guard !source.endsInsideStream else {
            throw .corruptGzip(
                path: path, byte: source.consumedByteCount, reason: "the file ends before the checksum")
        }
    }
}
