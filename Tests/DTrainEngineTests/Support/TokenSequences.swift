import DTrainEngine
import DTrainTensor
import Testing

/// Packed sequences of tokens with their labels, in memory of their own.
struct TokenSequences {
    let tokens: (owner: AlignedMemory, slice: MemorySlice<Int32>)
    let labels: (owner: AlignedMemory, slice: MemorySlice<Int32>)
    private let lengths: (owner: AlignedMemory, slice: MemorySlice<Int32>)
    private let positions: (owner: AlignedMemory, slice: MemorySlice<Int32>)

    /// Given packed: step after step, the longest sequence first.
    init(tokens: [Int], lengths: [Int], labels: [Int], positions: [Int]? = nil) {
        self.tokens = ownedSlice(tokens.map(Int32.init))
        self.labels = ownedSlice(labels.map(Int32.init))
        self.lengths = ownedSlice(lengths.map(Int32.init))
        self.positions = ownedSlice((positions ?? Array(lengths.indices)).map(Int32.init))
    }

    /// Given one by one, the longest first; labels one a token, in the same form.
    init(_ sequences: [[Int]], labels: [[Int]], positions: [Int]? = nil) {
        self.init(
            tokens: Self.pack(sequences), lengths: sequences.map(\.count), labels: Self.pack(labels),
            positions: positions)
    }

    static func pack(_ sequences: [[Int]]) -> [Int] {
        (0..<(sequences.map(\.count).max() ?? 0)).flatMap { step in
            sequences.filter { $0.count > step }.map { $0[step] }
        }
    }

    fileprivate func samples(step: Int) -> Replica.Samples {
        Replica.Samples(
            inputs: .tokens(tokens.slice, PackedSequences(lengths: lengths.slice, positions: positions.slice)),
            labels: labels.slice, step: step)
    }
}

extension TestReplica {
    /// A step on packed sequences.
    @discardableResult
    func step(
        _ sequences: TokenSequences, step: Int = 0, sourceLocation: SourceLocation = #_sourceLocation
    ) -> Replica.LossSum {
        withExtendedLifetime(sequences) { self.step(sequences.samples(step: step), sourceLocation: sourceLocation) }
    }

    /// An evaluation of packed sequences.
    @discardableResult
    func evaluate(_ sequences: TokenSequences) -> Replica.EvaluationSum {
        withExtendedLifetime(sequences) { replica.evaluate(sequences.samples(step: 0)) }
    }
}
