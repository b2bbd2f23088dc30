/// Which checkpoints stay: the newest `keep`, and the best one however old.
public struct RetentionPolicy: Hashable, Sendable, Codable {
    /// How many of the newest stay; at least 1.
    public let keep: Int

    /// `--keep`'s default.
    public static let defaultKeep = 3

    public init(keep: Int = defaultKeep) {
        precondition(keep >= 1, "a run keeps at least one checkpoint")
        self.keep = keep
    }

    /// Those of `steps` whose checkpoints may go, oldest first. `best` is the step of the best one, where it is known.
    public func removable(_ steps: [Int], best: Int?) -> [Int] {
        steps.sorted().dropLast(keep).filter { $0 != best }
    }
}
