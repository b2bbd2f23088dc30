import DTrainReport
import Testing

@Suite struct FormattingTests {
    @Test(arguments: [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567"), (-1000, "-1,000")])
    func wholeNumbersAreGrouped(value: Int, expected: String) { #expect(Formatting.whole(value) == expected) }

    @Test(arguments: [(0.0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03"), (.infinity, "–")])
    func countdownsAreClocks(seconds: Double, expected: String) { #expect(Formatting.clock(seconds) == expected) }

    @Test(arguments: [(0.344, "0.34 s"), (12.34, "12.3 s"), (125, "2 min 05 s"), (3725, "1 h 02 min")])
    func durationsHaveAFittingUnit(seconds: Double, expected: String) {
        #expect(Formatting.duration(seconds) == expected)
    }

    @Test(arguments: [(512, "512 B"), (87_400, "87.4 kB"), (999_960, "1.0 MB"), (5_000_000_000, "5.0 GB")])
    func bytesHaveAFittingUnit(count: Int, expected: String) { #expect(Formatting.bytes(count) == expected) }

    @Test func onlyEverySampleIsAHundredPercent() {
        #expect(Formatting.percent(9_999_999, of: 10_000_000) == "99.99 %")
        #expect(Formatting.percent(3, of: 3) == "100.00 %")
        #expect(Formatting.percent(569, of: 1000) == "56.90 %")
        #expect(Formatting.percent(0, of: 0) == "–")
    }
}
