internal import CZlib

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The bytes of a file or of memory in order, decompressed on the way if they are gzip (RFC 1952).
///
/// The first two bytes decide, not the name. Memory stays small: the input passes through a buffer of 64 KiB.
package final class ByteSource {
    /// The file's path, or what the memory is called in errors.
    let path: String
    /// The most bytes that can come out: the file's size, or 1032 times that, the bound of deflate (zlib, technical
    /// details), so that a damaged header cannot ask for more memory than there can be data.
    var maximumByteCount: Int { isCompressed ? inputByteCount * 1032 : inputByteCount }
    /// True once the input has ended before the compressed stream did.
    package private(set) var endsInsideStream = false
    /// The bytes of input used so far.
    private(set) var consumedByteCount = 0

    private let file: UnsafeMutablePointer<FILE>?
    private let inputByteCount: Int
    private let chunk: UnsafeMutableRawBufferPointer
    private var pending: UnsafeRawBufferPointer
    private var isCompressed = false
    private var stream: UnsafeMutablePointer<z_stream>?
    private var isFinished = false

    private static let chunkByteCount = 1 << 16

    /// The bytes of a regular file. Throws `DataError.unreadable` if it cannot be opened.
    package init(path: String) throws(DataError) {
        self.path = path
        var status = stat()
        guard stat(path, &status) == 0 else { throw .unreadable(path: path, reason: errorText()) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw .unreadable(path: path, reason: "it is not a regular file")
        }
        guard let file = fopen(path, "rbe") else { throw .unreadable(path: path, reason: errorText()) }
        self.file = file
        inputByteCount = Int(status.st_size)
        chunk = .allocate(byteCount: Self.chunkByteCount, alignment: 16)
        pending = UnsafeRawBufferPointer(rebasing: chunk[0..<0])
        try begin()
    }

    /// The bytes of `memory`, which outlives the source.
    init(memory: UnsafeRawBufferPointer, name: String) throws(DataError) {
        path = name
        file = nil
        inputByteCount = memory.count
        chunk = .allocate(byteCount: 1, alignment: 1)
        pending = memory
        try begin()
    }

    deinit {
        if let stream {
            inflateEnd(stream)
            stream.deallocate()
        }
        if let file { fclose(file) }
        chunk.deallocate()
    }

    /// Fills `target` as far as the data go and returns how many bytes those were.
    ///
    /// Throws `DataError.corruptGzip` for a damaged stream, `DataError.unreadable` if reading fails.
    package func read(into target: UnsafeMutableRawBufferPointer) throws(DataError) -> Int {
        var filled = 0
        while filled < target.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: target[filled...])
            let count = isCompressed ? try inflate(into: rest) : try copy(into: rest)
            if count == 0 { break }
            filled += count
        }
        return filled
    }

    /// The number of bytes that are left; reads them.
    package func drain() throws(DataError) -> Int {
        let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.chunkByteCount, alignment: 16)
        defer { scratch.deallocate() }
        var total = 0
        while true {
            let count = try read(into: scratch)
            if count == 0 { return total }
            total += count
        }
    }

    private func begin() throws(DataError) {
        if file != nil { _ = try refill() }
        isCompressed = pending.count >= 2 && pending[0] == 0x1F && pending[1] == 0x8B
        guard isCompressed else { return }
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // 16 + the largest window: gzip, and nothing else.
        let status = inflateInit2_(stream, 16 + MAX_WBITS, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard status == Z_OK else {
            stream.deallocate()
            throw .unreadable(path: path, reason: "zlib cannot start (status \(status))")
        }
        self.stream = stream
    }

    /// Reads the next chunk into `pending`; false at the end of the input.
    private func refill() throws(DataError) -> Bool {
        guard let file else { return false }
        let count = fread(chunk.baseAddress, 1, chunk.count, file)
        if count == 0 && ferror(file) != 0 { throw .unreadable(path: path, reason: errorText()) }
        pending = UnsafeRawBufferPointer(rebasing: chunk[0..<count])
        return count > 0
    }

    private func copy(into target: UnsafeMutableRawBufferPointer) throws(DataError) -> Int {
        if pending.isEmpty, !(try refill()) { return 0 }
        let count = min(target.count, pending.count)
        target.copyMemory(from: UnsafeRawBufferPointer(rebasing: pending[0..<count]))
        take(count)
        return count
    }

    private func inflate(into target: UnsafeMutableRawBufferPointer) throws(DataError) -> Int {
        guard let stream, !isFinished else { return 0 }
        while true {
            if pending.isEmpty, !(try refill()) {
                endsInsideStream = true
                return 0
            }
            let inputCount = min(pending.count, 1 << 30), outputCount = min(target.count, 1 << 30)
            stream.pointee.next_in = UnsafeMutablePointer(
                mutating: pending.baseAddress!.assumingMemoryBound(to: UInt8.self))
            stream.pointee.avail_in = UInt32(inputCount)
            stream.pointee.next_out = target.baseAddress!.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = UInt32(outputCount)
            let status = CZlib.inflate(stream, Z_NO_FLUSH)
            take(inputCount - Int(stream.pointee.avail_in))
            let produced = outputCount - Int(stream.pointee.avail_out)
            switch status {
            case Z_STREAM_END:
                // Another member may follow (RFC 1952, section 2.2).
                if pending.isEmpty, !(try refill()) { isFinished = true } else { inflateReset(stream) }
                if produced > 0 || isFinished { return produced }
            case Z_OK, Z_BUF_ERROR:
                if produced > 0 { return produced }
            default:
                let reason = stream.pointee.msg.map { String(cString: $0) } ?? "zlib status \(status)"
                throw .corruptGzip(path: path, byte: consumedByteCount, reason: reason)
            }
        }
    }

    private func take(_ count: Int) {
        pending = UnsafeRawBufferPointer(rebasing: pending[count...])
        consumedByteCount += count
    }
}

/// What the operating system says about the last failure.
func errorText() -> String { String(cString: strerror(errno)) }
