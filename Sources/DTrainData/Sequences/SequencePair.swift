/// The two splits of sequences that a `DataSpecification` opens.
public struct SequencePair: Sendable {
    public enum Content: Sendable {
        case names(train: NameDataset, test: NameDataset)
        case text(train: TextDataset, test: TextDataset)
        case hello(train: HelloDataset, test: HelloDataset)
    }

    public let specification: DataSpecification
    public let content: Content

    public init(specification: DataSpecification, content: Content) {
        self.specification = specification
        self.content = content
    }

    public var vocabulary: Vocabulary {
        switch content {
        case .names(let train, _): train.vocabulary
        case .text(let train, _): train.vocabulary
        case .hello(let train, _): train.vocabulary
        }
    }
    public var classNames: [String] { self[.train].classNames }
    /// Whether each character has a label, which is a character as well: then the classes are the vocabulary.
    public var labelsEachToken: Bool {
        if case .names = content { false } else { true }
    }
    /// One digest of both splits and the vocabulary: what ranks compare before the first step.
    public var digest: String { ContentDigest.combining([self[.train].digest, self[.test].digest, vocabulary.digest]) }

    /// Names, or the characters of a text.
    public subscript(_ split: DatasetSplit) -> any Dataset {
        switch content {
        case .names(let train, let test): split == .train ? train : test
        case .text(let train, let test): split == .train ? train : test
        case .hello(let train, let test): split == .train ? train : test
        }
    }
}
