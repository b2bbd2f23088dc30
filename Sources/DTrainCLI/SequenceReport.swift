import DTrainData
import DTrainReport
import DTrainTensor

/// What `data show` says of names or of a text.
struct SequenceReport {
    private let pair: SequencePair
    private static let shownSamples = 10

    init(_ pair: SequencePair) { self.pair = pair }

    /// - Parameter split: of which samples are shown.
    func lines(_ split: DatasetSplit) -> [String] {
        let vocabulary = pair.vocabulary
        let folding = vocabulary.folding.map { ", folded to \($0.rawValue.uppercased())" } ?? ""
        let characters =
            "\(Formatting.count(vocabulary.count, "character")) in the vocabulary\(folding): "
            + vocabulary.characters.map(\.escaped).joined()
        switch pair.content {
        case .names(let train, let test):
            return ["\(pair.specification): \(train.name), names of \(train.classCount) classes", characters]
                + [train, test].flatMap { names($0) } + ["some of \(split.rawValue):"]
                + samples(split == .train ? train : test)
        case .hello(let train, _):
            let word = [Int32](unsafeUninitializedCapacity: 2 * train.longest) { memory, count in
                let words = MemorySlice(base: memory.baseAddress!, count: 2 * train.longest)
                train.read(0, into: words[0..<train.longest], labels: words[train.longest..<2 * train.longest])
                count = 2 * train.longest
            }
            return [
                "\(pair.specification): one word, both for training and for the test", characters,
                "  \(vocabulary.text(of: word.prefix(train.longest))) to \(vocabulary.text(of: word.suffix(train.longest)))",
            ]
        case .text(let train, let test):
            let shown = split == .train ? train : test
            let text = vocabulary.text(of: shown.tokens.prefix(200)).escaped
            return [
                "\(pair.specification): \(train.name), a text of \(Formatting.whole(train.count + test.count)) characters",
                characters, "train: the first \(Formatting.whole(train.count)) characters",
                "test: the last \(Formatting.whole(test.count)) characters", "the beginning of \(split.rawValue):",
                "  \(text)",
            ]
        }
    }

    private func names(_ names: NameDataset) -> [String] {
        let counts = zip(names.classNames, names.countPerClass).map { "\($0): \(Formatting.whole($1))" }
        let shown = counts.count <= 20 ? counts : counts.prefix(20) + ["…"]
        let lengths = names.lengths.sorted()
        let mean = Double(lengths.reduce(0) { $0 + Int($1) }) / Double(lengths.count)
        return [
            "\(names.split.rawValue): \(Formatting.whole(names.count)) names (\(shown.joined(separator: ", "))), "
                + "of \(lengths.first!) to \(lengths.last!) characters, \(Formatting.decimal(mean, 1)) on average, "
                + "median \(lengths[lengths.count / 2])"
        ]
    }

    /// Names spread evenly over the split, so over the classes.
    private func samples(_ names: NameDataset) -> [String] {
        let count = min(Self.shownSamples, names.count)
        return (0..<count).map { sample in
            let index = sample * names.count / count
            return "  \(names.text(of: index).escaped)  \(names.classNames[names.label(of: index)])"
        }
    }
}
