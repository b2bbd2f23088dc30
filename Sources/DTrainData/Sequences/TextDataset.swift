import DTrainTensor
internal import CSamples

/// One split of a text as a run of characters. `streams` and `evaluationStreams` cut it into samples.
public struct TextDataset: Dataset {
    public let name: String
    public let split: DatasetSplit
    /// Of the whole text.
    public let vocabulary: Vocabulary
    public let digest: String
    public let tokens: [Int32]
    /// What errors call the text.
    let path: String

    /// The next character is a class.
    public var classNames: [String] { vocabulary.names }
    /// The number of characters.
    public var count: Int { tokens.count }

    /// Both splits of a file of UTF-8 text: the last tenth of its characters, rounded down, is for testing.
    ///
    /// Throws `DataError` if it cannot be read, is no UTF-8, or has fewer than 20 characters: each split needs two.
    public static func open(path: String) throws(DataError) -> (train: TextDataset, test: TextDataset) {
        let file = try MappedFile(path: path)
        defer { withExtendedLifetime(file) {} }
        return try open(file.bytes, name: "text", path: path)
    }

    /// Both splits of the text inside the program.
    public static func embeddedSample() throws(DataError) -> (train: TextDataset, test: TextDataset) {
        let file = dt_sample_text()
        return try open(
            UnsafeRawBufferPointer(start: file.bytes, count: file.byte_count), name: "text-sample",
            path: "the embedded text")
    }

    private static func open(
        _ bytes: UnsafeRawBufferPointer, name: String, path: String
    ) throws(DataError) -> (train: TextDataset, test: TextDataset) {
        var characters: Set<Unicode.Scalar> = []
        var count = 0
        var previous: Unicode.Scalar?
        try UTF8Text.forEach(bytes, path: path) { character in
            if character != previous { characters.insert(character) }
            previous = character
            count += 1
        }
        guard count > 0 else { throw .emptyText(path: path) }
        guard count >= 20 else { throw .textTooShort(path: path, characters: count, needed: 20) }
        let vocabulary = Vocabulary(characters)
        var tokens: [Int32] = []
        tokens.reserveCapacity(count)
        try UTF8Text.forEach(bytes, path: path) { character in tokens.append(vocabulary.number(of: character)!) }
        let testCount = count / 10
        return (
            TextDataset(.train, Array(tokens[..<(count - testCount)]), vocabulary, name: name, path: path),
            TextDataset(.test, Array(tokens[(count - testCount)...]), vocabulary, name: name, path: path)
        )
    }

    private init(_ split: DatasetSplit, _ tokens: [Int32], _ vocabulary: Vocabulary, name: String, path: String) {
        self.name = name
        self.split = split
        self.tokens = tokens
        self.vocabulary = vocabulary
        self.path = path
        digest = ContentDigest.combining([
            "text", split.rawValue, vocabulary.digest,
            tokens.withUnsafeBytes { ContentDigest.text(ContentDigest.hash($0)) },
        ])
    }

    /// The split for training: `streamCount` runs of equal length side by side, each of whole windows of `longest` tokens.
    /// What follows the last window is left out.
    ///
    /// Throws `DataUsageError.sequenceTooLong` where a stream would not fill one window.
    public func streams(_ streamCount: Int, longest: Int) throws(DataUsageError) -> TextStreams {
        precondition(streamCount >= 1 && longest >= 1)
        // Each token needs the next one as its label.
        let windows = (count - 1) / streamCount / longest
        guard windows >= 1 else {
            throw .sequenceTooLong(
                length: longest, streams: streamCount,
                text: "the \(split == .train ? "training" : "test") part of \(path)",
                characters: count)
        }
        let starts = (0..<streamCount).map { $0 * windows * longest }
        return TextStreams(self, starts: starts, length: windows * longest, longest: longest)
    }

    /// The most streams of an evaluation.
    public static let largestEvaluationStreamCount = 32

    /// The split for an evaluation: every character after the first is predicted once, in at most 32 streams, whose lengths
    /// differ by one at most. Each has at least 256 characters, if there is more than one: what it begins with is
    /// predicted from little. So the streams do not depend on the windows' length, nor on who reads them.
    public func evaluationStreams(longest: Int) -> TextStreams {
        precondition(longest >= 1)
        let predicted = count - 1
        let streamCount = max(1, min(Self.largestEvaluationStreamCount, predicted / 256))
        var starts: [Int] = []
        var start = 0
        for stream in 0..<streamCount {
            starts.append(start)
            start += predicted / streamCount + (stream < predicted % streamCount ? 1 : 0)
        }
        return TextStreams(self, starts: starts, length: nil, longest: longest)
    }
}
