import DTrainTensor
internal import CSamples

/// One split of names by class: which language a surname comes from, say.
///
/// About one name in five is for testing: a function of class and name alone, so that a name that is listed twice is never
/// on both sides.
public struct NameDataset: SequenceDataset {
    public let name: String
    public let split: DatasetSplit
    public let classNames: [String]
    public let vocabulary: Vocabulary
    public let longest: Int
    public let labelsEachToken = false
    public let isStream = false
    public let digest: String
    public var count: Int { labels.count }
    private let tokens: [Int32]
    private let ends: [Int]
    private let labels: [Int32]

    /// Both splits of the files `CLASS.txt` in `directory`: UTF-8, one name a line; spaces around a name and empty lines do
    /// not count.
    ///
    /// Throws `DataError` if there is no such file, if one cannot be read or is no UTF-8, if nothing is left of a name after
    /// `folding`, or if a class has no name for one of the splits.
    public static func open(
        directory: String, folding: TextFolding? = nil
    ) throws(DataError) -> (train: NameDataset, test: NameDataset) {
        try open(
            NameFiles(directory: directory, folding: folding), name: folding == .ascii ? "names-ascii" : "names",
            path: directory, folding: folding)
    }

    /// Both splits of the surnames inside the program.
    public static func embeddedSample() throws(DataError) -> (train: NameDataset, test: NameDataset) {
        let file = dt_sample_names()
        // One file for all: each class begins with a line `[CLASS]`.
        let bytes = UnsafeRawBufferPointer(start: file.bytes, count: file.byte_count)
        var sources: [NameFiles.Source] = []
        var offset = 0
        func lineEnd(_ start: Int) -> Int { bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count }
        while offset < bytes.count {
            let end = lineEnd(offset)
            let className = String(decoding: bytes[offset + 1..<end - 1], as: UTF8.self)
            var next = end + 1
            while next < bytes.count, bytes[next] != UInt8(ascii: "[") { next = lineEnd(next) + 1 }
            sources.append(
                NameFiles.Source(
                    path: "embedded surnames, \(className)", className: className,
                    bytes: UnsafeRawBufferPointer(rebasing: bytes[end + 1..<min(next, bytes.count)])))
            offset = next
        }
        return try open(
            NameFiles(sources, folding: nil), name: "names-sample", path: "the embedded surnames", folding: nil)
    }

    private static func open(
        _ files: NameFiles, name: String, path: String, folding: TextFolding?
    ) throws(DataError) -> (train: NameDataset, test: NameDataset) {
        let vocabulary = Vocabulary(files.characters, folding: folding)
        var longest = 0
        var parts: [DatasetSplit: [Int]] = [.train: [], .test: []]
        for index in 0..<files.count {
            longest = max(longest, files.range(index).count)
            let text = vocabulary.text(of: files.characters[files.range(index)].map { vocabulary.number(of: $0)! })
            parts[splitOf(text, className: files.classNames[Int(files.labels[index])])]!.append(index)
        }
        func part(_ split: DatasetSplit) throws(DataError) -> NameDataset {
            let present = Set(parts[split]!.map { files.labels[$0] })
            if let missing = files.classNames.indices.first(where: { !present.contains(Int32($0)) }) {
                throw .classWithoutNames(path: path, className: files.classNames[missing], split: split)
            }
            return NameDataset(
                name: name, split: split, files: files, indices: parts[split]!, vocabulary: vocabulary, longest: longest
            )
        }
        return (try part(.train), try part(.test))
    }

    private init(
        name: String, split: DatasetSplit, files: NameFiles, indices: [Int], vocabulary: Vocabulary, longest: Int
    ) {
        self.name = name
        self.split = split
        classNames = files.classNames
        self.vocabulary = vocabulary
        self.longest = longest
        var tokens: [Int32] = []
        var ends: [Int] = []
        for index in indices {
            tokens += files.characters[files.range(index)].map { vocabulary.number(of: $0)! }
            ends.append(tokens.count)
        }
        self.tokens = tokens
        self.ends = ends
        labels = indices.map { files.labels[$0] }
        digest = ContentDigest.combining(
            [
                "names", split.rawValue, vocabulary.digest, Self.digest(tokens), Self.digest(ends.map { Int32($0) }),
                Self.digest(labels),
            ] + classNames)
    }

    private static func digest(_ numbers: [Int32]) -> String {
        numbers.withUnsafeBytes { ContentDigest.text(ContentDigest.hash($0)) }
    }

    /// The side of `name`; the text before it is the hash's seed.
    package static func splitOf(_ name: String, className: String) -> DatasetSplit {
        let hash = Array("dtrain names 1\n\(className)\n\(name)".utf8).withUnsafeBytes { ContentDigest.hash($0) }
        return hash % 5 == 0 ? .test : .train
    }

    private func range(_ index: Int) -> Range<Int> { (index == 0 ? 0 : ends[index - 1])..<ends[index] }

    /// The name, folded where the vocabulary folds.
    public func text(of index: Int) -> String { vocabulary.text(of: tokens[range(index)]) }
    public func label(of index: Int) -> Int { Int(labels[index]) }
    public func length(of index: Int) -> Int { range(index).count }

    public func read(_ index: Int, into tokens: MemorySlice<Int32>, labels: MemorySlice<Int32>) {
        for (step, place) in range(index).enumerated() { tokens[step] = self.tokens[place] }
        labels[0] = self.labels[index]
    }

    /// The number of names of each class.
    public var countPerClass: [Int] {
        labels.reduce(into: [Int](repeating: 0, count: classCount)) { $0[Int($1)] += 1 }
    }
}
