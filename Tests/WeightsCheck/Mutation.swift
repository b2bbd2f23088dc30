import DTrainTensor

/// Damage to a file, the same for the same seed: one to four times a flipped bit, a cut, a splice, or a number where a
/// length may be.
struct Mutation {
    private let random: CounterRandom
    private var drawn: UInt64 = 0

    init(seed: UInt64) { random = CounterRandom(seed: seed, purpose: .synthetic) }

    mutating func apply(to original: [UInt8]) -> [UInt8] {
        var bytes = original
        for _ in 0...below(4) where !bytes.isEmpty {
            let at = position(in: bytes.count)
            switch below(8) {
            case 0, 1, 2: bytes[at] ^= 1 << UInt8(below(8))
            case 3: bytes.removeLast(bytes.count - at)
            case 4: bytes.removeSubrange(at..<min(bytes.count, at + 1 + below(16)))
            case 5:
                let from = position(in: bytes.count)
                bytes.insert(contentsOf: bytes[from..<min(bytes.count, from + 1 + below(64))], at: at)
            case 6:
                for (index, byte) in length(bytes.count).enumerated() where at + index < bytes.count {
                    bytes[at + index] = byte
                }
            default: bytes.insert(contentsOf: length(bytes.count), at: at)
            }
        }
        return bytes
    }

    private mutating func below(_ bound: Int) -> Int {
        drawn += 1
        return random.below(bound, drawn)
    }

    /// Half of the time near the beginning or the end, where formats keep their structure.
    private mutating func position(in count: Int) -> Int {
        switch below(4) {
        case 0: below(min(count, 400))
        case 1: count - 1 - below(min(count, 400))
        default: below(count)
        }
    }

    /// A number that a length field should not hold, in 1, 2, 4 or 8 bytes, little-endian.
    private mutating func length(_ count: Int) -> [UInt8] {
        let values: [UInt64] = [
            0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 62, (1 << 63) - 1, 1 << 63,
            .max, UInt64(count), UInt64(count) + 1, 1 << 40,
        ]
        let value = values[below(values.count)]
        return (0..<1 << below(4)).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }
}
