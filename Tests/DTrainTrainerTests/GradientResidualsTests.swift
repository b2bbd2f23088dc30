import DTrainCollectives
import DTrainTensor
import DTrainTrainer
import Testing

@Suite struct GradientResidualsTests {
    private static let layout = ParameterLayout(trainable: [("a", [3], .plain), ("b", [20], .plain)])

    /// What rank `rank` of four has kept: halves, so that sums are exact.
    private static func kept(_ rank: Int) -> [Float] {
        (0..<layout.trainableCount).map { index in
            layout.segments.contains { $0.range.contains(index) } ? Float(rank * 100 + index) / 2 : 0
        }
    }

    @Test("Ranks get their own residuals again, and those of ranks that are no more", arguments: 2...6, [false, true])
    func distributes(ranks: Int, isDedicated: Bool) throws {
        let results = try onEveryRank(ranks + (isDedicated ? 1 : 0)) { queue -> [Float]? in
            let layout = Self.layout
            let residuals = GradientResiduals(
                .bf16, layout: layout, hosts: Array(0..<ranks), isDedicated: isDedicated,
                trains: !isDedicated || queue.rank > 0)
            if queue.rank == 0 {
                let memory = (0..<4).map { _ in AlignedMemory(byteCount: 4 * layout.trainableCount) }
                let arenas = memory.map { $0.slice(of: Float.self) }
                for (rank, arena) in arenas.enumerated() {
                    for (index, value) in Self.kept(rank).enumerated() { arena[index] = value }
                }
                let other = NamedTensor(name: "a.momentum_buffer", shape: [3], floats: [1, 2, 3])
                let tensors = GradientResiduals.tensors(of: arenas, layout) + [other]
                #expect(tensors.count == 9)
                let (others, count) = try residuals.take(from: tensors.shuffled())
                #expect(others.map(\.name) == ["a.momentum_buffer"] && count == 4)
                withExtendedLifetime(memory) {}
            }
            try residuals.distribute(over: queue)
            return residuals.own?.array()
        }
        #expect(results.compactMap { $0 }.count == ranks)
        for (rank, own) in results.compactMap({ $0 }).enumerated() {
            let sources = (0..<4).filter { $0 % ranks == rank }.map(Self.kept)
            #expect(own == (0..<Self.layout.trainableCount).map { index in sources.reduce(0) { $0 + $1[index] } })
        }
    }
}
