/// Which part of a data set: the one that is trained on, or the one that accuracy is measured on.
public enum DatasetSplit: String, Hashable, Sendable, Codable, CaseIterable {
    case train, test
}

/// What samples of every kind have in common; any thread may read them in any order.
public protocol Dataset: Sendable {
    /// What people call it: `mnist`.
    var name: String { get }
    var split: DatasetSplit { get }
    /// The name of each class; a label is an index into it.
    var classNames: [String] { get }
    /// The number of samples.
    var count: Int { get }
    /// 16 hexadecimal digits that depend on the decoded content (or on what fully describes it) and on nothing else:
    /// equal on all ranks that see the same data, different where the data differ.
    var digest: String { get }

    /// What errors call sample `index`: its file's path where it has one of its own.
    func sampleName(_ index: Int) -> String
}

extension Dataset {
    public var classCount: Int { classNames.count }

    public func sampleName(_ index: Int) -> String {
        "sample \(index) of \(name), \(split == .train ? "training" : "test") split"
    }
}
