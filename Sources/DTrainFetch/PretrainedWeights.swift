import DTrainTensor

/// Weights of a model that torchvision publishes, trained on ImageNet.
public struct PretrainedWeights: Hashable, Sendable, CustomStringConvertible {
    /// torchvision's name, which is dtrain's.
    public let model: String
    /// Which of torchvision's recipes they come from: `IMAGENET1K_V1`, for some models `IMAGENET1K_V2` too.
    public let version: String
    /// Carries the first digits of the file's SHA-256: `resnet50-0676ba61.pth`.
    public let fileName: String
    /// Where `fileName` is; ends with a slash.
    let base: String

    package init(model: String, version: String, fileName: String, base: String) {
        self.model = model
        self.version = version
        self.fileName = fileName
        self.base = base
    }

    /// Whether the model changes its input before its first layer. googlenet's weights were trained elsewhere, on inputs
    /// of mean 0.5 and deviation 0.5; torchvision brings inputs that are normalised as for all others there, channel by
    /// channel with ImageNet's deviation s (0.229, 0.224, 0.225) and mean m (0.485, 0.456, 0.406):
    /// x · s/0.5 + (m − 0.5)/0.5.
    public var transformsInput: Bool { model == "googlenet" }

    /// `resnet50@IMAGENET1K_V1`, which `named` reads.
    public var description: String { model + "@" + version }

    /// The weights of a model, by `MODEL` (the first version) or `MODEL@VERSION`.
    ///
    /// Throws `FetchUsageError` with the valid names.
    public static func named(_ text: String) throws(FetchUsageError) -> PretrainedWeights {
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let versions = all.filter { $0.model == parts[0] }
        guard let first = versions.first else {
            var models: [String] = []
            for weights in all where !models.contains(weights.model) { models.append(weights.model) }
            throw .unknownWeights(
                model: parts[0], suggestion: suggestion(for: parts[0], among: models), valid: models)
        }
        guard parts.count == 2 else { return first }
        guard let found = versions.first(where: { $0.version == parts[1] }) else {
            throw .unknownVersion(model: parts[0], version: parts[1], valid: versions.map(\.version))
        }
        return found
    }

    /// Sees to it that the file is here, and returns its path: in `directory`, or by default in the folder `weights` of
    /// the cache that `environment` names.
    ///
    /// Throws `FetchError`.
    public func locate(
        in directory: String? = nil, environment: [String: String], mirror: Mirror? = nil,
        policy: FetchPolicy = FetchPolicy(), report: @escaping (FetchEvent) -> Void = { _ in }
    ) throws(FetchError) -> String {
        let path: String
        if let directory {
            path = directory + "/" + fileName
        } else {
            path = try CacheDirectory.path(environment) + "/weights/" + fileName
        }
        guard let checksum = Checksum.inName(fileName) else { preconditionFailure("\(fileName) carries no checksum") }
        try Download(addresses: [(mirror?.base ?? base) + fileName], path: path, checksum: checksum)
            .run(policy: policy, report: report)
        return path
    }
}
