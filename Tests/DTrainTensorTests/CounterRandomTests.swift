import DTrainTensor
import Testing

@Suite struct CounterRandomTests {
    /// Known answers of the authors' library (Random123, kat_vectors) for philox4x32-10 with counter and key zero.
    @Test func matchesTheReferenceForZero() {
        let random = CounterRandom(rawKey: (0, 0), counterHigh: (0, 0))
        #expect(random.words(0) == (0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
    }

    @Test func matchesTheReferenceForOnes() {
        let random = CounterRandom(rawKey: (.max, .max), counterHigh: (.max, .max))
        #expect(random.words(.max) == (0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
    }

    @Test func streamsOfOneSeedDiffer() {
        let order = CounterRandom(seed: 1, purpose: .sampleOrder)
        #expect(order.words(0) != CounterRandom(seed: 1, purpose: .dropout).words(0))
        #expect(order.words(0) != CounterRandom(seed: 1, purpose: .sampleOrder, stream: 1).words(0))
        #expect(order.words(0) != CounterRandom(seed: 2, purpose: .sampleOrder).words(0))
    }

    @Test func uniformAndBelowStayInRangeAndCoverIt() {
        let random = CounterRandom(seed: 3, purpose: .synthetic)
        let numbers = (0..<20_000).map { random.uniform(UInt64($0)) }
        #expect(numbers.allSatisfy { $0 >= 0 && $0 < 1 })
        #expect(abs(numbers.reduce(0, +) / 20_000 - 0.5) < 0.01)
        var counts = [Int](repeating: 0, count: 7)
        for index in 0..<7_000 { counts[random.below(7, UInt64(index))] += 1 }
        #expect(counts.allSatisfy { abs($0 - 1_000) < 150 })
    }
}
