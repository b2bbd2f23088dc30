/// What `loadWeights` did with each tensor of a model and of a file.
public struct WeightsReport: Hashable, Sendable, CustomStringConvertible {
    /// The file that was read.
    public let path: String
    /// Names of the model that now have the file's values.
    public internal(set) var loaded: [String] = []
    /// Parameters of the head that kept their fresh initialisation.
    public internal(set) var reinitialised: [String] = []
    /// Names of the file that the model does not have.
    public internal(set) var skipped: [String] = []
    /// Names of the model that the file does not have; they kept their values.
    public internal(set) var lacking: [String] = []
    /// The number of classes in the file and in the model, where the head tells.
    public internal(set) var classes: Classes?

    public struct Classes: Hashable, Sendable {
        public let file: Int
        public let model: Int

        public init(file: Int, model: Int) {
            self.file = file
            self.model = model
        }
    }

    init(path: String) { self.path = path }

    /// One line: `loaded 318 tensors from F; re-initialised fc.weight, fc.bias (1000 → 10 classes); skipped aux1.* (14)`.
    public var description: String {
        var parts = ["loaded \(loaded.count) tensor\(loaded.count == 1 ? "" : "s") from \(path)"]
        if !reinitialised.isEmpty {
            let counts = classes.map { " (\($0.file) → \($0.model) classes)" } ?? ""
            parts.append("re-initialised \(Self.shortened(reinitialised))\(counts)")
        }
        if !skipped.isEmpty { parts.append("skipped " + Self.shortened(grouped(skipped))) }
        if !lacking.isEmpty { parts.append("the file lacks " + Self.shortened(grouped(lacking))) }
        return parts.joined(separator: "; ")
    }

    /// Names under one module of which nothing was loaded become `module.* (count)`; batch counters are one group too.
    private func grouped(_ names: [String]) -> [String] {
        func group(_ name: String) -> String {
            if WeightsPolicy.isBatchCounter(name) { return "*.num_batches_tracked" }
            guard let dot = name.firstIndex(of: ".") else { return name }
            return used.contains(name[..<dot]) ? name : name[..<dot] + ".*"
        }
        let used = Set((loaded + reinitialised).map { $0.prefix { $0 != "." } })
        var order: [String] = []
        var members: [String: [String]] = [:]
        for name in names {
            let group = group(name)
            if members[group] == nil { order.append(group) }
            members[group, default: []].append(name)
        }
        return order.map { group in
            let names = members[group]!
            return names.count == 1 ? names[0] : "\(group) (\(names.count))"
        }
    }

    private static func shortened(_ names: [String]) -> String {
        let shown = names.prefix(8).joined(separator: ", ")
        return names.count > 8 ? "\(shown) and \(names.count - 8) more" : shown
    }
}
