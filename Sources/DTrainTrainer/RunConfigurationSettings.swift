import DTrainData

/// The settings by the names that flags and configuration files use.
public enum RunSetting: String, Sendable, CaseIterable {
    case model, classes, dropout, `init`, freeze
    case syncBatchNorm = "sync-batchnorm"
    case data, augment
    case noShuffle = "no-shuffle"
    case loaderThreads = "loader-threads"
    case epochs, steps
    case batchSize = "batch-size"
    case accumulate, optimizer, lr, momentum, nesterov, betas
    case weightDecay = "weight-decay"
    case clipNorm = "clip-norm"
    case labelSmoothing = "label-smoothing"
    case schedule, milestones, gamma
    case stepSize = "step-size"
    case warmupEpochs = "warmup-epochs"
    case seed, precision, workers, threads, coordinator
    case evalEvery = "eval-every"
    case checkpointEvery = "checkpoint-every"
    case keep, out, resume, progress, quiet

    /// When a setting may differ from the run's first start.
    public enum Lifetime: Sendable {
        /// Never: it decides what the run computes.
        case fixed
        /// On each resume.
        case changeable
        /// It belongs to one start and is not saved.
        case thisStart
    }

    public var lifetime: Lifetime {
        switch self {
        case .steps, .epochs, .workers, .threads, .loaderThreads, .coordinator, .evalEvery, .checkpointEvery, .keep:
            .changeable
        case .out, .resume, .progress, .quiet: .thisStart
        default: .fixed
        }
    }
}

/// Settings that somebody gave, as text, and where: one layer of a configuration.
public struct RunSettings: Sendable, Equatable {
    /// Where they come from, for messages: `the command line` or a file's path.
    public var source: String
    public var values: [RunSetting: String]

    public init(source: String, values: [RunSetting: String] = [:]) {
        self.source = source
        self.values = values
    }

    /// The same from names as a file has them; underscores count as hyphens.
    /// Throws `unknownSetting` for a name that no setting has.
    public init(source: String, named values: [(name: String, value: String)]) throws {
        self.init(source: source)
        for (name, value) in values {
            let key = String(name.map { $0 == "_" ? "-" : $0 })
            guard let setting = RunSetting(rawValue: key) else {
                throw ConfigurationError.unknownSetting(name: name, source: source)
            }
            self.values[setting] = value
        }
    }
}

extension RunConfiguration {
    /// The defaults under `layers`, later ones over earlier ones, validated.
    ///
    /// A layer that gives only one of `epochs` and `steps` drops the other one of the layers below.
    public init(layers: [RunSettings]) throws {
        self.init()
        for layer in layers { try apply(layer) }
        let given = Set(layers.flatMap(\.values.keys))
        if !given.contains(.lr), optimizer != .sgd { learningRate = 0.001 }
        if !given.contains(.weightDecay), optimizer == .adamw { weightDecay = 0.01 }
        try checkEffects(of: given)
        try validate()
    }

    /// The configuration of a run that goes on: what it was saved with, under `layers` (the command line, a file).
    /// Throws `changedOnResume` where a layer changes what the run computes.
    public init(resuming saved: RunSettings, layers: [RunSettings]) throws {
        let original = try RunConfiguration(layers: [saved])
        self = original
        for layer in layers { try apply(layer) }
        for setting in RunSetting.allCases where setting.lifetime == .fixed {
            let (old, new) = (original.text(of: setting), text(of: setting))
            guard old != new, let layer = layers.last(where: { $0.values[setting] != nil }) else { continue }
            throw ConfigurationError.changedOnResume(
                setting: setting.rawValue, saved: old ?? "unset", given: new ?? "unset", source: layer.source)
        }
        try validate()
    }

    /// The settings that make this configuration again, without those of one start: what `config.yaml` holds.
    /// Settings without effect (Adam's with SGD) and unset ones are absent.
    public var saved: RunSettings {
        var settings = RunSettings(source: "config.yaml")
        for setting in RunSetting.allCases where setting.lifetime != .thisStart && effectProblem(of: setting) == nil {
            settings.values[setting] = text(of: setting)
        }
        return settings
    }

    private mutating func apply(_ layer: RunSettings) throws {
        if layer.values[.steps] != nil, layer.values[.epochs] == nil { epochs = nil }
        if layer.values[.epochs] != nil, layer.values[.steps] == nil { steps = nil }
        for (setting, text) in layer.values.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            try set(setting, to: SettingText(setting: setting, text: text, source: layer.source))
        }
    }

    private mutating func set(_ setting: RunSetting, to value: SettingText) throws {
        switch setting {
        case .model: model = try value.name("a model's name; 'dtrain models' lists them")
        case .classes: classes = try value.whole(atLeast: 1, atMost: 1_000_000)
        case .dropout: dropout = try value.number(.fraction)
        case .`init`: initialWeights = try value.name("the path of a safetensors file")
        case .freeze: freeze = value.list.map(\.text)
        case .syncBatchNorm: synchronisesBatchNorm = try value.flag()
        case .data: data = try value.name("a data specification such as mnist-sample or mnist:DIR")
        case .augment:
            augment = try value.text == "none" ? [] : value.list.map { try $0.choice(Augmentation.self) }
            guard Set(augment).count == augment.count else { throw value.invalid("each name once") }
        case .noShuffle: shuffle = try !value.flag()
        case .loaderThreads: loaderThreads = try value.whole(atLeast: 1)
        case .epochs: epochs = try value.whole(atLeast: 1)
        case .steps: steps = try value.whole(atLeast: 1)
        case .batchSize: batchSize = try value.whole(atLeast: 1)
        case .accumulate: accumulate = try value.whole(atLeast: 1)
        case .optimizer: optimizer = try value.choice(OptimizerName.self)
        case .lr: learningRate = try value.number(.nonNegative)
        case .momentum: momentum = try value.number(.fraction)
        case .nesterov: nesterov = try value.flag()
        case .betas:
            let rates = try value.list.map { try $0.number(.fraction) }
            guard rates.count == 2 else { throw value.invalid("two numbers in 0 ..< 1, such as 0.9,0.999") }
            betas = Betas(first: rates[0], second: rates[1])
        case .weightDecay: weightDecay = try value.number(.nonNegative)
        case .clipNorm: clipNorm = try value.number(.positive)
        case .labelSmoothing: labelSmoothing = try value.number(.fraction)
        case .schedule: schedule = try value.choice(ScheduleName.self)
        case .milestones:
            milestones = try value.list.map { try $0.whole(atLeast: 1) }
            guard zip(milestones, milestones.dropFirst()).allSatisfy({ $0 < $1 }) else {
                throw value.invalid("ascending epochs, such as 30,60,90")
            }
        case .gamma:
            gamma = try value.number(.positive)
            guard gamma <= 1 else { throw value.invalid("a number above 0 and at most 1") }
        case .stepSize: stepSize = try value.whole(atLeast: 1)
        case .warmupEpochs:
            warmupEpochs = try value.number(.nonNegative)
            guard warmupEpochs <= 1e9 else { throw value.invalid("a number of at most 1000000000") }
        case .seed: seed = try value.whole(atLeast: 0, atMost: .max)
        case .precision: precision = try value.choice(Precision.self)
        case .workers: workers = try value.whole(atLeast: 1)
        case .threads: threads = try value.whole(atLeast: 1, atMost: RunConfiguration.largestThreadCount)
        case .coordinator: coordinator = try value.choice(CoordinatorMode.self)
        case .evalEvery: evalEvery = try value.whole(atLeast: 1)
        case .checkpointEvery: checkpointEvery = try value.whole(atLeast: 1)
        case .keep: keep = try value.whole(atLeast: 1)
        case .out: out = try value.name("a directory")
        case .resume:
            switch try value.name("auto, none or the path of a checkpoint") {
            case "auto": resume = .auto
            case "none": resume = .none
            case let path: resume = .path(path)
            }
        case .progress: progress = try value.choice(ProgressMode.self)
        case .quiet: quiet = try value.flag()
        }
    }

    /// A setting's value as text that reads back to the same value; nil where it is unset.
    public func text(of setting: RunSetting) -> String? {
        switch setting {
        case .model: model
        case .classes: classes.map(String.init)
        case .dropout: dropout.map { "\($0)" }
        case .`init`: initialWeights
        case .freeze: freeze.isEmpty ? nil : freeze.joined(separator: ",")
        case .syncBatchNorm: "\(synchronisesBatchNorm)"
        case .data: data
        case .augment: augment.isEmpty ? nil : augment.map(\.rawValue).joined(separator: ",")
        case .noShuffle: "\(!shuffle)"
        case .loaderThreads: "\(loaderThreads)"
        case .epochs: epochs.map(String.init)
        case .steps: steps.map(String.init)
        case .batchSize: "\(batchSize)"
        case .accumulate: "\(accumulate)"
        case .optimizer: optimizer.rawValue
        case .lr: "\(learningRate)"
        case .momentum: "\(momentum)"
        case .nesterov: "\(nesterov)"
        case .betas: "\(betas.first),\(betas.second)"
        case .weightDecay: "\(weightDecay)"
        case .clipNorm: clipNorm.map { "\($0)" }
        case .labelSmoothing: "\(labelSmoothing)"
        case .schedule: schedule.rawValue
        case .milestones: milestones.isEmpty ? nil : milestones.map(String.init).joined(separator: ",")
        case .gamma: "\(gamma)"
        case .stepSize: "\(stepSize)"
        case .warmupEpochs: "\(warmupEpochs)"
        case .seed: "\(seed)"
        case .precision: precision.rawValue
        case .workers: workers.map(String.init)
        case .threads: threads.map(String.init)
        case .coordinator: coordinator.rawValue
        case .evalEvery: evalEvery.map(String.init)
        case .checkpointEvery: checkpointEvery.map(String.init)
        case .keep: "\(keep)"
        case .out: out
        case .resume:
            switch resume {
            case .none: "none"
            case .auto: "auto"
            case .path(let path): path
            }
        case .progress: progress.rawValue
        case .quiet: "\(quiet)"
        }
    }
}

/// A setting's text on its way to a value.
private struct SettingText {
    enum Range { case fraction, nonNegative, positive }

    let setting: RunSetting
    let text: String
    let source: String

    func invalid(_ valid: String, names: [String] = []) -> ConfigurationError {
        .invalidValue(
            setting: setting.rawValue, value: text, source: source == RunSettings.commandLine ? nil : source,
            valid: valid, names: names)
    }

    /// The parts between commas; none for an empty text.
    var list: [SettingText] {
        text.split(separator: ",").map { part in
            SettingText(setting: setting, text: part.filter { $0 != " " }, source: source)
        }
    }

    func name(_ valid: String) throws -> String {
        guard !text.isEmpty else { throw invalid(valid) }
        return text
    }

    /// The default limit keeps products of two settings, such as the steps of all epochs, in range.
    func whole(atLeast minimum: Int, atMost maximum: Int = 1_000_000_000) throws -> Int {
        guard let value = Int(text), value >= minimum else { throw invalid("a whole number of at least \(minimum)") }
        guard value <= maximum else { throw invalid("a whole number of at most \(maximum)") }
        return value
    }

    func number(_ range: Range) throws -> Double {
        let value = Double(text).flatMap { $0.isFinite ? $0 : nil }
        switch range {
        case .fraction:
            guard let value, value >= 0, value < 1 else { throw invalid("a number of at least 0 and below 1") }
            return value
        case .nonNegative:
            guard let value, value >= 0 else { throw invalid("a number of at least 0") }
            return value
        case .positive:
            guard let value, value > 0 else { throw invalid("a number above 0") }
            return value
        }
    }

    func flag() throws -> Bool {
        switch text.lowercased() {
        case "true", "yes", "on": return true
        case "false", "no", "off": return false
        default: throw invalid("true or false")
        }
    }

    func choice<Choice: RawRepresentable & CaseIterable>(_ type: Choice.Type) throws -> Choice
    where Choice.RawValue == String {
        if let choice = Choice(rawValue: text) { return choice }
        let names = Choice.allCases.map(\.rawValue)
        throw invalid(names.count == 1 ? names[0] : "one of " + names.joined(separator: ", "), names: names)
    }
}

extension RunSettings {
    /// The source of settings that came as flags.
    public static let commandLine = "the command line"
}

extension RunSettings {
    /// The settings as a YAML mapping, in the order of `RunSetting`, one a line.
    public var yaml: String {
        RunSetting.allCases.compactMap { setting in
            values[setting].map { "\(setting.rawValue): \(Self.scalar($0))\n" }
        }.joined()
    }

    /// Plain where YAML reads it back as it stands, double-quoted elsewhere.
    private static func scalar(_ text: String) -> String {
        let plain =
            !text.isEmpty
            && text.unicodeScalars.allSatisfy { scalar in
                switch scalar {
                case "a"..."z", "A"..."Z", "0"..."9", "_", "-", ".", ",", "/", "+": true
                default: false
                }
            }
        if plain, !text.hasPrefix("-"), !text.hasPrefix(",") { return text }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\t": quoted += "\\t"
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }

    /// Throws `differsBetweenRanks` for the first setting that this rank was given otherwise than rank 0.
    /// Only settings that every rank has to share count: a host may have its own number of threads.
    public func check(against rankZero: RunSettings, rank: Int, host: String) throws {
        for setting in RunSetting.allCases where setting != .threads && setting != .loaderThreads {
            let (mine, theirs) = (values[setting], rankZero.values[setting])
            guard mine != theirs else { continue }
            throw ConfigurationError.differsBetweenRanks(
                setting: setting.rawValue, rank: rank, host: host, value: mine, rankZero: theirs)
        }
    }
}
