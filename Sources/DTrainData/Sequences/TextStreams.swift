import DTrainTensor

/// A text as streams that go on side by side, a window at a time: sample `window · streamCount + stream` is a window of a
/// stream, and the sample `streamCount` later goes on where it ends. The label of a token is the next one.
public struct TextStreams: SequenceDataset {
    public let longest: Int
    public let labelsEachToken = true
    public let isStream = true
    public let windowCount: Int
    private let text: TextDataset
    /// Where each stream begins, and one past the last token that the last one reads.
    private let bounds: [Int]

    /// - Parameters:
    ///   - starts: ascending.
    ///   - length: tokens of each stream; nil where one ends where the next begins, the last before the text's last
    ///     character, and the longer ones come first.
    init(_ text: TextDataset, starts: [Int], length: Int?, longest: Int) {
        self.text = text
        self.longest = longest
        bounds = starts + [length.map { starts.last! + $0 } ?? text.count - 1]
        windowCount = (bounds[1] - bounds[0] + longest - 1) / longest
    }

    public var streamCount: Int { bounds.count - 1 }
    /// Windows of streams.
    public var count: Int { windowCount * streamCount }
    /// Tokens of all samples together.
    public var tokenCount: Int { bounds.last! - bounds[0] }
    /// Characters after the last window, which are not read, and of which none but the first is a label.
    public var droppedCharacterCount: Int { text.count - 1 - bounds.last! }

    public var name: String { text.name }
    public var split: DatasetSplit { text.split }
    public var classNames: [String] { text.classNames }
    public var vocabulary: Vocabulary { text.vocabulary }
    public var digest: String { text.digest }

    private func range(_ index: Int) -> Range<Int> {
        let (window, stream) = index.quotientAndRemainder(dividingBy: streamCount)
        let end = bounds[stream + 1]
        let start = min(bounds[stream] + window * longest, end)
        return start..<min(start + longest, end)
    }

    public func length(of index: Int) -> Int { range(index).count }

    public func read(_ index: Int, into tokens: MemorySlice<Int32>, labels: MemorySlice<Int32>) {
        text.tokens.withUnsafeBufferPointer { text in
            for (step, place) in range(index).enumerated() {
                tokens[step] = text[place]
                labels[step] = text[place + 1]
            }
        }
    }
}
