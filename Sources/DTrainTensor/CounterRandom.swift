/// Random numbers without state: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
///
/// A number depends only on the key and the counter, so any thread of any rank draws the number that belongs to a
/// sample or to a position of the global batch without drawing those before it.
public struct CounterRandom: Sendable {
    /// What a stream of numbers is for; it keeps the streams of one seed apart.
    public enum Purpose: UInt32, Sendable {
        case initialisation = 1, sampleOrder = 2, augmentation = 3, dropout = 4, permutation = 5, synthetic = 6
        case mixing = 7, generation = 8
    }

    let key: (UInt32, UInt32)
    let purpose: UInt32
    let stream: UInt32

    /// The stream of numbers for `seed` and `purpose`; `stream` tells several of one purpose apart (a layer, an epoch).
    public init(seed: UInt64, purpose: Purpose, stream: UInt32 = 0) {
        key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
        self.purpose = purpose.rawValue
        self.stream = stream
    }

    /// A stream given by Philox's own key and the upper two words of its counter.
    package init(rawKey: (UInt32, UInt32), counterHigh: (UInt32, UInt32)) {
        key = rawKey
        stream = counterHigh.0
        purpose = counterHigh.1
    }

    /// Four independent 32-bit words for the counter `index`.
    public func words(_ index: UInt64) -> (UInt32, UInt32, UInt32, UInt32) {
        var counter = (
            UInt32(truncatingIfNeeded: index), UInt32(truncatingIfNeeded: index >> 32), stream, purpose
        )
        var key = key
        for _ in 0..<10 {
            let first = UInt64(counter.0) &* 0xD251_1F53
            let second = UInt64(counter.2) &* 0xCD9E_8D57
            counter = (
                UInt32(truncatingIfNeeded: second >> 32) ^ counter.1 ^ key.0, UInt32(truncatingIfNeeded: second),
                UInt32(truncatingIfNeeded: first >> 32) ^ counter.3 ^ key.1, UInt32(truncatingIfNeeded: first)
            )
            key.0 = key.0 &+ 0x9E37_79B9
            key.1 = key.1 &+ 0xBB67_AE85
        }
        return counter
    }

    /// A 64-bit word for the counter `index`.
    public func word64(_ index: UInt64) -> UInt64 {
        let words = words(index)
        return UInt64(words.0) << 32 | UInt64(words.1)
    }

    /// A number uniform in [0, 1), a multiple of 2⁻²⁴ (every value exact in a `Float`).
    public func uniform(_ index: UInt64) -> Float { Float(words(index).0 >> 8) * 0x1p-24 }

    /// A whole number uniform in 0 ..< `bound`, without modulo bias beyond 2⁻⁶⁴ × `bound`.
    public func below(_ bound: Int, _ index: UInt64) -> Int {
        Int(word64(index).multipliedFullWidth(by: UInt64(bound)).high)
    }
}
