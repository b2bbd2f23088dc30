/// XXH64 (Yann Collet, "xxHash fast digest algorithm", version 0.1.1, seed 0): tells different data apart.
///
/// It is fast (several GB/s, so that hashing MNIST takes milliseconds) and guards against mistakes, not against malice.
package enum ContentDigest {
    private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
    private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
    private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
    private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
    private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

    /// The hash of `bytes`.
    package static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        func word(_ offset: Int) -> UInt64 {
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        var offset = 0
        var result: UInt64
        if bytes.count >= 32 {
            var first = prime1 &+ prime2, second = prime2, third: UInt64 = 0, fourth = 0 &- prime1
            while offset + 32 <= bytes.count {
                first = round(first, word(offset))
                second = round(second, word(offset + 8))
                third = round(third, word(offset + 16))
                fourth = round(fourth, word(offset + 24))
                offset += 32
            }
            result = rotate(first, 1) &+ rotate(second, 7) &+ rotate(third, 12) &+ rotate(fourth, 18)
            for lane in [first, second, third, fourth] {
                result = (result ^ round(0, lane)) &* prime1 &+ prime4
            }
        } else {
            result = prime5
        }
        result &+= UInt64(bytes.count)
        while offset + 8 <= bytes.count {
            result = rotate(result ^ round(0, word(offset)), 27) &* prime1 &+ prime4
            offset += 8
        }
        if offset + 4 <= bytes.count {
            let half = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            result = rotate(result ^ (UInt64(half) &* prime1), 23) &* prime2 &+ prime3
            offset += 4
        }
        while offset < bytes.count {
            result = rotate(result ^ (UInt64(bytes[offset]) &* prime5), 11) &* prime1
            offset += 1
        }
        result = (result ^ (result >> 33)) &* prime2
        result = (result ^ (result >> 29)) &* prime3
        return result ^ (result >> 32)
    }

    /// The digest of several texts; how they are split matters.
    package static func combining(_ parts: [String]) -> String {
        var joined: [UInt8] = []
        for part in parts {
            joined += Array("\(part.utf8.count):".utf8) + Array(part.utf8)
        }
        return joined.withUnsafeBytes { text(hash($0)) }
    }

    /// 16 hexadecimal digits.
    package static func text(_ hash: UInt64) -> String {
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private static func rotate(_ value: UInt64, _ bits: UInt64) -> UInt64 { value << bits | value >> (64 - bits) }
    private static func round(_ lane: UInt64, _ input: UInt64) -> UInt64 {
        rotate(lane &+ input &* prime2, 31) &* prime1
    }
}
