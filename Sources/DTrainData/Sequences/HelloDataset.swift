import DTrainTensor

/// The lecture's one sequence: "hello", with a label for each of its letters, which together read "ohlol". Both splits
/// hold it.
public struct HelloDataset: SequenceDataset {
    public let split: DatasetSplit
    private static let (word, answer) = ("hello", "ohlol")
    private static let letters = Vocabulary(word.unicodeScalars)
    private static let tokens = word.unicodeScalars.map { letters.number(of: $0)! }
    private static let labels = answer.unicodeScalars.map { letters.number(of: $0)! }

    public init(_ split: DatasetSplit) { self.split = split }

    public var name: String { "hello" }
    public var vocabulary: Vocabulary { Self.letters }
    public var classNames: [String] { vocabulary.names }
    public var count: Int { 1 }
    public var longest: Int { Self.tokens.count }
    public var labelsEachToken: Bool { true }
    public var isStream: Bool { false }
    public var digest: String { ContentDigest.combining(["hello", Self.word, Self.answer]) }

    public func length(of index: Int) -> Int { Self.tokens.count }
    public func sampleName(_ index: Int) -> String { "'\(Self.word)'" }

    public func read(_ index: Int, into tokens: MemorySlice<Int32>, labels: MemorySlice<Int32>) {
        for step in 0..<longest { (tokens[step], labels[step]) = (Self.tokens[step], Self.labels[step]) }
    }
}
