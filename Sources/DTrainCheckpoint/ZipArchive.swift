import DTrainTensor

/// A zip archive (PKWARE's APPNOTE 6.3.10, sections 4.3 to 4.5.3): the directory at its end says where the entries lie.
///
/// Entries are stored or deflated; sizes and places may be of 64 bits (zip64). Opening checks the directory; an entry's
/// own header is checked when the entry is read.
struct ZipArchive: Sendable {
    struct Entry: Sendable {
        let name: String
        let isDeflated: Bool
        /// The content's CRC-32; 0 where the writer recorded none (PyTorch's `set_crc32_options(False)`).
        let checksum: UInt32
        /// Bytes in the file.
        let storedByteCount: Int
        /// Bytes of the content.
        let byteCount: Int
        fileprivate let headerOffset: Int
    }

    let file: FileInput
    /// In the directory's order.
    let entries: [Entry]
    private let places: [String: Int]

    /// What the archive says about its directory.
    private struct Directory {
        var offset: Int
        var byteCount: Int
    }

    init(_ file: FileInput) throws(CheckpointError) {
        self.file = file
        let directory = try Self.findDirectory(in: file)
        let bytes = try file.bytes(directory.offset..<directory.offset + directory.byteCount)
        var entries: [Entry] = []
        var places: [String: Int] = [:]
        var position = 0
        while position < bytes.count {
            func fail(_ reason: String) -> CheckpointError {
                Self.problem(file, at: directory.offset + position, reason)
            }
            guard bytes.count - position >= 46, bytes.number(at: position, bytes: 4) == 0x0201_4B50 else {
                throw fail("the directory has no entry here")
            }
            let lengths = [28, 30, 32].map { Int(bytes.number(at: position + $0, bytes: 2)) }
            let end = position + 46 + lengths.reduce(0, +)
            guard end <= bytes.count else { throw fail("the directory's last entry is cut off") }
            let nameEnd = position + 46 + lengths[0]
            let name = String(decoding: bytes[position + 46..<nameEnd], as: UTF8.self)
            var sizes = [24, 20, 42].map { bytes.number(at: position + $0, bytes: 4) }
            Self.widen(&sizes, from: Array(bytes[nameEnd..<nameEnd + lengths[1]]))
            let numbers = sizes.compactMap { Int(exactly: $0) }
            let method = bytes.number(at: position + 10, bytes: 2)
            guard bytes.number(at: position + 8, bytes: 2) & 1 == 0 else { throw fail("\(name) is encrypted") }
            guard method == 0 || method == 8 else {
                throw fail("\(name) is compressed by method \(method), not deflate")
            }
            guard numbers.count == 3, numbers[1] <= file.byteCount, numbers[2] <= file.byteCount,
                method == 8 || numbers[0] == numbers[1]
            else { throw fail("\(name) has impossible sizes") }
            guard places.updateValue(entries.count, forKey: name) == nil else { throw fail("\(name) is there twice") }
            entries.append(
                Entry(
                    name: name, isDeflated: method == 8,
                    checksum: UInt32(bytes.number(at: position + 16, bytes: 4)), storedByteCount: numbers[1],
                    byteCount: numbers[0], headerOffset: numbers[2]))
            position = end
        }
        self.entries = entries
        self.places = places
    }

    subscript(_ name: String) -> Entry? { places[name].map { entries[$0] } }

    /// Where an entry's bytes lie in the file, by its own header.
    func range(of entry: Entry) throws(CheckpointError) -> Range<Int> {
        func fail(_ reason: String) -> CheckpointError { Self.problem(file, at: entry.headerOffset, reason) }
        guard entry.headerOffset + 30 <= file.byteCount else { throw fail("no header of \(entry.name) here") }
        let header = try file.bytes(entry.headerOffset..<entry.headerOffset + 30)
        guard header.number(at: 0, bytes: 4) == 0x0403_4B50 else { throw fail("no header of \(entry.name) here") }
        let start =
            entry.headerOffset + 30 + Int(header.number(at: 26, bytes: 2)) + Int(header.number(at: 28, bytes: 2))
        guard start + entry.storedByteCount <= file.byteCount else {
            throw fail("\(entry.name) does not end within the file")
        }
        return start..<start + entry.storedByteCount
    }

    /// An entry's whole content, checked against its checksum.
    func contents(of entry: Entry) throws(CheckpointError) -> [UInt8] {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: entry.byteCount, alignment: 1)
        defer { memory.deallocate() }
        try read(entry, into: memory)
        return Array(memory)
    }

    /// Fills `memory`, which has the entry's size, with its content, and checks the checksum.
    func read(_ entry: Entry, into memory: UnsafeMutableRawBufferPointer) throws(CheckpointError) {
        let range = try range(of: entry)
        if entry.isDeflated {
            guard try file.inflate(range, into: memory) else {
                throw Self.problem(file, at: range.lowerBound, "\(entry.name) is not validly deflated")
            }
        } else {
            try file.read(memory, at: range.lowerBound)
        }
        try check(entry, Checksum.of(UnsafeRawBufferPointer(memory)))
    }

    /// Reads a stored entry, whose content nobody needs whole, to check its checksum.
    func verify(_ entry: Entry) throws(CheckpointError) {
        guard entry.checksum != 0 else { return }
        let range = try range(of: entry)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: min(1 << 20, range.count), alignment: 1)
        defer { buffer.deallocate() }
        var checksum: UInt32 = 0
        var offset = range.lowerBound
        while offset < range.upperBound {
            let chunk = UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(buffer.count, range.upperBound - offset)])
            try file.read(chunk, at: offset)
            checksum = Checksum.of(UnsafeRawBufferPointer(chunk), after: checksum)
            offset += chunk.count
        }
        try check(entry, checksum)
    }

    private func check(_ entry: Entry, _ found: UInt32) throws(CheckpointError) {
        guard entry.checksum == 0 || entry.checksum == found else {
            throw .torch(path: file.path, .wrongChecksum(entry: entry.name, expected: entry.checksum, found: found))
        }
    }

    // MARK: The directory

    private static func problem(_ file: FileInput, at byte: Int, _ reason: String) -> CheckpointError {
        .torch(path: file.path, .malformedArchive(byte: byte, reason: reason))
    }

    /// The directory's place: by the record at the file's end, or by that of zip64 before it.
    private static func findDirectory(in file: FileInput) throws(CheckpointError) -> Directory {
        let recordSize = 22
        guard file.byteCount >= recordSize else {
            throw .torch(path: file.path, .truncated(expected: recordSize, found: file.byteCount))
        }
        // Only a comment of at most 64 KiB may follow the record.
        let tailStart = max(0, file.byteCount - recordSize - 0xFFFF)
        let tail = try file.bytes(tailStart..<file.byteCount)
        let place = stride(from: tail.count - recordSize, through: 0, by: -1).first {
            tail[$0] == 0x50 && tail.number(at: $0, bytes: 4) == 0x0605_4B50
                && $0 + recordSize + Int(tail.number(at: $0 + 20, bytes: 2)) == tail.count
        }
        guard let place else {
            throw problem(
                file, at: file.byteCount, "it has no directory at its end: it is truncated. Copy or download it again")
        }
        var size = tail.number(at: place + 12, bytes: 4)
        var offset = tail.number(at: place + 16, bytes: 4)
        let recordOffset = tailStart + place
        if size == 0xFFFF_FFFF || offset == 0xFFFF_FFFF || tail.number(at: place + 10, bytes: 2) == 0xFFFF {
            let locator = recordOffset - 20
            guard locator >= 0 else { throw problem(file, at: recordOffset, "its directory's place is missing") }
            let pointer = try file.bytes(locator..<recordOffset)
            guard pointer.number(at: 0, bytes: 4) == 0x0706_4B50,
                let record = Int(exactly: pointer.number(at: 8, bytes: 8)), record <= locator - 56
            else { throw problem(file, at: locator, "its directory's place is missing") }
            let wide = try file.bytes(record..<record + 56)
            guard wide.number(at: 0, bytes: 4) == 0x0606_4B50 else {
                throw problem(file, at: record, "its directory's place is missing")
            }
            size = wide.number(at: 40, bytes: 8)
            offset = wide.number(at: 48, bytes: 8)
        }
        guard offset <= UInt64(recordOffset), size <= UInt64(recordOffset) - offset else {
            throw problem(file, at: recordOffset, "its directory does not lie within the file")
        }
        return Directory(offset: Int(offset), byteCount: Int(size))
    }

    /// Replaces those of `sizes` (content, stored, place of the header) that are all ones by the numbers of 64 bits in
    /// the extra field 1. One that is missing there stays, and is found to be impossible.
    private static func widen(_ sizes: inout [UInt64], from extra: [UInt8]) {
        var position = 0
        while position + 4 <= extra.count {
            let count = Int(extra.number(at: position + 2, bytes: 2))
            let end = position + 4 + count
            guard end <= extra.count else { return }
            if extra.number(at: position, bytes: 2) == 1 {
                var next = position + 4
                for index in sizes.indices where sizes[index] == 0xFFFF_FFFF && next + 8 <= end {
                    sizes[index] = extra.number(at: next, bytes: 8)
                    next += 8
                }
            }
            position = end
        }
    }
}
