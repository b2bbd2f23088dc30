/// What may differ between a weights file and the model that starts from it.
public struct WeightsPolicy: Sendable {
    /// A set of names, as a predicate.
    public typealias Names = @Sendable (String) -> Bool

    /// The parameters of the model's head, the last layer: `{ $0.hasPrefix("fc.") }`.
    public var isHead: Names
    /// Whether the model has another number of classes than the file's: then a layer of the head whose parameters are
    /// missing or of another shape keeps its fresh initialisation, all its parameters together.
    public var classesDiffer: Bool
    /// Names of the file that the model may lack: auxiliary classifiers, or a head where the model has none. The names are
    /// the model's (`currentName(of:)`).
    public var maySkip: Names
    /// Names of the model that the file may lack; they keep what they have. Files from before PyTorch 0.4.1 know no
    /// `num_batches_tracked`.
    public var mayLack: Names

    /// By default a file may lack batch counters, and nothing else may differ.
    public init(
        isHead: @escaping Names = { _ in false }, classesDiffer: Bool = false,
        maySkip: @escaping Names = { _ in false }, mayLack: @escaping Names = isBatchCounter
    ) {
        self.isHead = isHead
        self.classesDiffer = classesDiffer
        self.maySkip = maySkip
        self.mayLack = mayLack
    }

    /// Names and shapes must be the model's, all of them.
    public static let exact = WeightsPolicy(mayLack: { _ in false })

    /// Whether a name is a batch normalisation's counter of batches.
    public static let isBatchCounter: Names = { $0.hasSuffix(".num_batches_tracked") || $0 == "num_batches_tracked" }

    /// The name that a tensor has today. The first weights of torchvision's DenseNet call the parts of a dense layer
    /// `norm.1` and `conv.2`, where the model has `norm1` and `conv2`.
    public static func currentName(of name: String) -> String {
        guard name.contains("denselayer") else { return name }
        var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 4, parts[parts.count - 4].hasPrefix("denselayer"),
            ["norm", "conv"].contains(parts[parts.count - 3]), ["1", "2"].contains(parts[parts.count - 2])
        else { return name }
        let number = parts.remove(at: parts.count - 2)
        parts[parts.count - 2] += number
        return parts.joined(separator: ".")
    }
}
