import DTrainTensor

/// The samples of some classes of a data set, which are then all the classes there are, in the order in which they were
/// named: for transfer learning on the others, say.
public struct SelectedClasses: ImageDataset {
    private let base: any ImageDataset
    /// Of each sample, its index in the base.
    private let indices: [Int]
    /// The new label of each label of the base; -1 for those left out.
    private let labels: [Int]

    public let classNames: [String]
    public let digest: String
    public var name: String { base.name }
    public var split: DatasetSplit { base.split }
    public var sampleShape: Shape { base.sampleShape }
    public var sizesMayDiffer: Bool { base.sizesMayDiffer }
    public var normalisation: Normalisation { base.normalisation }
    public var count: Int { indices.count }

    /// Keeps the classes that `selection` names: by name, by number, or a range of numbers such as `0-7`.
    ///
    /// Throws `DataError.unknownClass` for one that is not there, `.empty` where nothing is left, and what reading a label
    /// throws.
    public init(_ base: any ImageDataset, _ selection: [String]) throws(DataError) {
        var chosen: [Int] = []
        for text in selection { chosen += try Self.classes(text, of: base).filter { !chosen.contains($0) } }
        var labels = [Int](repeating: -1, count: base.classNames.count)
        for (new, old) in chosen.enumerated() { labels[old] = new }
        var indices: [Int] = []
        for index in 0..<base.count {
            let label: Int
            do { label = try base.label(of: index) } catch {
                throw error as? DataError ?? .unreadable(path: base.sampleName(index), reason: "\(error)")
            }
            if labels[label] >= 0 { indices.append(index) }
        }
        guard !indices.isEmpty else { throw .empty(path: "\(base.name), classes \(selection.joined(separator: ","))") }
        self.base = base
        self.indices = indices
        self.labels = labels
        classNames = chosen.map { base.classNames[$0] }
        digest = ContentDigest.combining([base.digest, "classes"] + chosen.map(String.init))
    }

    private static func classes(_ text: String, of base: any ImageDataset) throws(DataError) -> [Int] {
        if let index = base.classNames.firstIndex(of: text) { return [index] }
        let bounds = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        guard (1...2).contains(bounds.count), let first = bounds.first!, let last = bounds.last!, first <= last, first >= 0,
            last < base.classNames.count
        else { throw .unknownClass(name: text, dataSet: base.name, valid: base.classNames) }
        return Array(first...last)
    }

    public func read(_ index: Int, into image: PixelBuffer) throws -> Int {
        labels[try base.read(indices[index], into: image)]
    }
    public func label(of index: Int) throws -> Int { labels[try base.label(of: indices[index])] }
    public func sampleName(_ index: Int) -> String { base.sampleName(indices[index]) }
}
