/// What a `DataSpecification` opens: two splits of one kind.
public enum OpenedData: Sendable {
    case images(DatasetPair)
    case sequences(SequencePair)

    public var specification: DataSpecification {
        switch self {
        case .images(let pair): pair.specification
        case .sequences(let pair): pair.specification
        }
    }
    public var classNames: [String] { self[.train].classNames }
    public var classCount: Int { classNames.count }
    /// One digest of both splits: what ranks compare before the first step.
    public var digest: String {
        switch self {
        case .images(let pair): pair.digest
        case .sequences(let pair): pair.digest
        }
    }
    /// Samples; of a text, characters.
    public var trainCount: Int { self[.train].count }
    public var testCount: Int { self[.test].count }

    public subscript(_ split: DatasetSplit) -> any Dataset {
        switch self {
        case .images(let pair): pair[split]
        case .sequences(let pair): pair[split]
        }
    }

    /// The pair of images. Throws `DataUsageError.needsImages` for sequences; `what` says who wants them: `--augment`.
    public func images(for what: String) throws(DataUsageError) -> DatasetPair {
        switch self {
        case .images(let pair): return pair
        case .sequences(let pair): throw .needsImages(what: what, specification: pair.specification.description)
        }
    }
}
