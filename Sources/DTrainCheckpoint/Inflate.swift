internal import CZlib

/// CRC-32, as zip archives use it.
enum Checksum {
    static func of(_ bytes: UnsafeRawBufferPointer, after previous: UInt32 = 0) -> UInt32 {
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return previous }
        return UInt32(crc32_z(uLong(previous), base.assumingMemoryBound(to: Bytef.self), bytes.count))
    }
}

extension FileInput {
    /// Fills `memory` with what the deflated bytes (RFC 1951) in `range` of the file hold. False where they are not
    /// validly deflated or hold another number of bytes.
    func inflate(_ range: Range<Int>, into memory: UnsafeMutableRawBufferPointer) throws(CheckpointError) -> Bool {
        // zlib keeps the stream's address.
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 1)
        defer {
            stream.deallocate()
            chunk.deallocate()
        }
        guard inflateInit2_(stream, -MAX_WBITS, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            return false
        }
        defer { inflateEnd(stream) }
        var offset = range.lowerBound
        var done = 0
        // Room for one byte too many shows a content that is longer than it says, and an empty one has an end to reach.
        var excess: UInt8 = 0
        while true {
            if stream.pointee.avail_in == 0 && offset < range.upperBound {
                let part = UnsafeMutableRawBufferPointer(
                    rebasing: chunk[..<min(chunk.count, range.upperBound - offset)])
                try read(part, at: offset)
                offset += part.count
                stream.pointee.next_in = part.baseAddress!.assumingMemoryBound(to: Bytef.self)
                stream.pointee.avail_in = uInt(part.count)
            }
            let room = min(memory.count - done, 1 << 30)
            let status = withUnsafeMutablePointer(to: &excess) { spare in
                if room > 0 {
                    stream.pointee.next_out = (memory.baseAddress! + done).assumingMemoryBound(to: Bytef.self)
                    stream.pointee.avail_out = uInt(room)
                } else {
                    stream.pointee.next_out = spare
                    stream.pointee.avail_out = 1
                }
                let status = CZlib.inflate(stream, Z_NO_FLUSH)
                if room > 0 {
                    done += room - Int(stream.pointee.avail_out)
                } else if stream.pointee.avail_out == 0 {
                    return Z_DATA_ERROR
                }
                return status
            }
            if status == Z_STREAM_END { return done == memory.count }
            guard status == Z_OK else { return false }
        }
    }
}
