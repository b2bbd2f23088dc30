import DTrainTensor

/// The lecture's one sequence: "hello", with a label for each of its letters, which together read "ohlol". Both splits
/// hold it.
public struct HelloDataset: SequenceDataset {
    public let split: DatasetSplit
    private static let (word, answer) = ("hello", "ohlol")

    public init(_ split: DatasetSplit) { self.split = split }

    public var name: String { "hello" }
    public var vocabulary: Vocabulary { Vocabulary(Self.word.unicodeScalars) }
    public var classNames: [String] { vocabulary.names }
    public var count: Int { 1 }
    public var longest: Int { Self.word.count }
    public var labelsEachToken: Bool { true }
    public var isStream: Bool { false }
    public var digest: String { ContentDigest.combining(["hello", Self.word, Self.answer]) }

    public func length(of index: Int) -> Int { Self.word.count }
    public func label(of index: Int) -> Int { Self.letter(0, of: Self.answer) }
    public func sampleName(_ index: Int) -> String { "'\(Self.word)'" }

    public func read(_ index: Int, into tokens: MemorySlice<Int32>, labels: MemorySlice<Int32>) {
        for position in 0..<Self.word.count {
            tokens[position] = Int32(Self.letter(position, of: Self.word))
            labels[position] = Int32(Self.letter(position, of: Self.answer))
        }
    }

    /// The number of a letter: its place among e, h, l, o.
    private static func letter(_ position: Int, of text: String) -> Int {
        switch text.utf8[text.utf8.index(text.utf8.startIndex, offsetBy: position)] {
        case UInt8(ascii: "e"): 0
        case UInt8(ascii: "h"): 1
        case UInt8(ascii: "l"): 2
        default: 3
        }
    }
}
