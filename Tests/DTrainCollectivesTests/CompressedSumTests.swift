import DTrainCollectives
import DTrainTensor
import Synchronization
import Testing

/// Sums that travel as bfloat16 with error feedback, over the in-process double.
@Suite struct CompressedSumTests {
    /// Random numbers of ranks, spread over some orders of magnitude.
    static func values(rank: Int, count: Int, seed: Int = 0) -> [Float] {
        let random = CounterRandom(seed: UInt64(100 * seed + rank), purpose: .synthetic)
        return (0..<count).map { (random.uniform(UInt64($0)) - 0.4) * Float(1 << ($0 % 11)) }
    }

    /// Independent of the kernels: the nearest number of 8 significant bits, of two as near the even one.
    static func rounded(_ value: Float) -> Float {
        let low = Float(bitPattern: value.bitPattern & 0xffff_0000)
        let high = Float(bitPattern: (value.bitPattern & 0xffff_0000) + 0x1_0000)
        let (below, above) = ((value - low).magnitude, (high - value).magnitude)
        if below == above { return low.bitPattern >> 16 & 1 == 0 ? low : high }
        return below < above ? low : high
    }

    /// What one sum leaves on each rank.
    private func sum(
        _ values: [[Float]], residuals: [[Float]]? = nil, delays: [Int] = []
    ) throws -> [(sums: [Float], residuals: [Float])] {
        let ranks = LoopbackCommunicator.group(size: values.count)
        return try onThreads(values.count) { rank in
            let queue = try CommunicationQueue { ranks[rank] }
            let count = values[rank].count
            let workspace = AlignedMemory(
                byteCount: 2 * CompressedSum.workspaceCount(count, ranks: values.count))
            // What is in the workspace must not matter.
            workspace.slice(of: UInt8.self).fill(0x7f)
            if !delays.isEmpty { pause(milliseconds: delays[rank]) }
            var sums: [Float] = []
            let residual = try withSlice(residuals?[rank] ?? [Float](repeating: 0, count: count)) { residual in
                sums = try withSlice(values[rank]) {
                    let sum = CompressedSum(values: $0, residual: residual, workspace: workspace.slice())
                    try queue.run(.allReduceSumCompressed(sum))
                }
            }
            try queue.close()
            return withExtendedLifetime(workspace) { (sums, residual) }
        }
    }

    @Test(arguments: [2, 3, 4], [0, 1, 7, 33, 70_001])
    func valuesAreRoundedOnceAndSumsOnce(size: Int, count: Int) throws {
        let values = (0..<size).map { Self.values(rank: $0, count: count) }
        let results = try sum(values)
        let expected = (0..<count).map { index in
            var sum = Self.rounded(values[0][index])
            for others in values.dropFirst() { sum += Self.rounded(others[index]) }
            return Self.rounded(sum)
        }
        for result in results { #expect(result.sums.map(\.bitPattern) == expected.map(\.bitPattern)) }
    }

    @Test func oneRankRoundsNothing() throws {
        let values = Self.values(rank: 0, count: 33)
        #expect(try sum([values])[0].sums == values)
    }

    @Test(arguments: [2, 3, 4]) func nothingIsLost(size: Int) throws {
        // Small whole numbers of eighths: fp32 holds every sum of them exactly, bfloat16 hardly any.
        let values: [[Float]] = (0..<size).map { rank in
            (0..<1000).map { index in Float((rank * 7919 + index * 104_729) % 99_991) / 8 }
        }
        let residuals: [[Float]] = (0..<size).map { rank in (0..<1000).map { index in Float((rank + index) % 17) / 8 } }
        let results = try sum(values, residuals: residuals)
        for index in 0..<1000 {
            var (before, after): (Float, Float) = (0, results[0].sums[index])
            for rank in 0..<size {
                before += values[rank][index] + residuals[rank][index]
                after += results[rank].residuals[index]
            }
            #expect(before == after)
        }
        #expect(results.contains { $0.residuals.contains { $0 != 0 } })
    }

    @Test func theSameBitsOnAllRanksWhoeverArrivesFirst() throws {
        let values = (0..<4).map { Self.values(rank: $0, count: 5003, seed: 3) }
        let first = try sum(values, delays: [0, 5, 10, 15])
        let second = try sum(values, delays: [15, 0, 10, 5])
        #expect(Set((first + second).map(\.sums)).count == 1)
        #expect(first.map(\.residuals) == second.map(\.residuals))
    }

    @Test func tiesGoToTheEvenNumberAndWhatIsNotFiniteStays() throws {
        let (even, odd) = (Float(bitPattern: 0x3f80_8000), Float(bitPattern: 0x3f81_8000))
        let payload = Float(bitPattern: 0x7fff_ffff)
        let tiny = Float(bitPattern: 0x0001_1234)
        let values = [even, odd, -odd, .infinity, -.infinity, .nan, payload, tiny, .greatestFiniteMagnitude]
        let sums = try sum([values, [Float](repeating: 0, count: values.count)])[0].sums
        #expect(sums[0] == 1 && sums[1] == Float(bitPattern: 0x3f82_0000) && sums[2] == -sums[1])
        #expect(sums[3] == .infinity && sums[4] == -.infinity && sums[5].isNaN && sums[6].isNaN)
        #expect(sums[7] == Float(bitPattern: 0x0001_0000))
        #expect(sums[8] == .infinity)
    }

    /// Two ranks pull x in opposite directions, one a little more: rank 0's loss is (x + 300)² / 2, rank 1's (x − 301)² / 2, so
    /// that x = 0.5 is best. Gradients of 300 travel as multiples of 2 (bfloat16 has 8 bits): plainly rounded, they cancel
    /// where they should not, and x stalls.
    @Test func errorFeedbackConvergesWherePlainRoundingStalls() throws {
        func descend(_ feedback: Bool) throws -> [Float] {
            let ranks = LoopbackCommunicator.group(size: 2)
            return try onThreads(2) { rank in
                let queue = try CommunicationQueue { ranks[rank] }
                let workspace = AlignedMemory(byteCount: 2 * CompressedSum.workspaceCount(1, ranks: 2))
                var x: Float = 0
                _ = try withSlice([Float(0)]) { residual in
                    for _ in 0..<4000 {
                        if !feedback { residual[0] = 0 }
                        let gradient = try withSlice([rank == 0 ? x + 300 : x - 301]) {
                            try queue.run(
                                .allReduceSumCompressed(
                                    CompressedSum(values: $0, residual: residual, workspace: workspace.slice())))
                        }
                        x -= 0.002 * gradient[0]
                    }
                }
                try queue.close()
                return withExtendedLifetime(workspace) { x }
            }
        }
        let (plain, fed) = (try descend(false), try descend(true))
        // Both ranks stay at the same x.
        #expect(plain[0] == plain[1] && fed[0] == fed[1])
        #expect(plain[0] == 0)
        #expect((fed[0] - 0.5).magnitude < 0.02)
    }
}
