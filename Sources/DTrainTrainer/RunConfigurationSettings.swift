import DTrainCollectives
import DTrainData
import DTrainEngine
import DTrainOptimizers

/// The settings by the names that flags and configuration files use.
public enum RunSetting: String, Sendable, CaseIterable {
    case model, classes, dropout
    case imageSize = "image-size"
    case noTop = "no-top"
    case noAux = "no-aux"
    case block, `init`, freeze
    case syncBatchNorm = "sync-batchnorm"
    case data, augment
    case skipBroken = "skip-broken"
    case noShuffle = "no-shuffle"
    case sequenceLength = "sequence-length"
    case loaderThreads = "loader-threads"
    case epochs, steps
    case batchSize = "batch-size"
    case accumulate, optimizer, lr, momentum, nesterov, betas, alpha, centered
    case rateDecay = "lr-decay"
    case initialAccumulator = "initial-accumulator"
    case trustCoefficient = "trust-coefficient"
    case epsilon
    case weightDecay = "weight-decay"
    case decay, ema
    case emaWarmup = "ema-warmup"
    case clipNorm = "clip-norm"
    case labelSmoothing = "label-smoothing"
    case schedule, milestones, gamma
    case stepSize = "step-size"
    case power
    case pctStart = "pct-start"
    case divFactor = "div-factor"
    case finalDivFactor = "final-div-factor"
    case patience, threshold, cooldown, monitor
    case earlyStop = "early-stop"
    case minDelta = "min-delta"
    case warmupEpochs = "warmup-epochs"
    case seed, precision, compress, workers, threads, coordinator
    case evalEvery = "eval-every"
    case checkpointEvery = "checkpoint-every"
    case keep, out, resume, trace
    case traceSteps = "trace-steps"
    case progress, quiet

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
        case .steps, .epochs, .earlyStop, .minDelta, .workers, .threads, .loaderThreads, .skipBroken, .coordinator,
            .evalEvery,
            .checkpointEvery, .keep:
            .changeable
        case .out, .resume, .trace, .traceSteps, .progress, .quiet: .thisStart
        default: .fixed
        }
    }
}

/// Settings that somebody gave, as text, and where: one layer of a configuration.
public struct RunSettings: Sendable, Equatable {
    /// Where they come from, for messages: `the command line` or a file's path.
    public var source: String
    /// Whether it is a recipe: what it sets may be without effect once other layers change the rest.
    public var isRecipe = false
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
        let defaults = optimizer.defaults
        if !given.contains(.lr) { learningRate = defaults.learningRate }
        if !given.contains(.momentum) { momentum = defaults.momentum }
        if !given.contains(.epsilon) { epsilon = defaults.epsilon }
        if !given.contains(.weightDecay) { weightDecay = defaults.weightDecay }
        try checkEffects(of: Set(layers.filter { !$0.isRecipe }.flatMap(\.values.keys)))
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
        case .imageSize: imageSize = try value.whole(atLeast: 1, atMost: 16384)
        case .noTop: top = try !value.flag()
        case .noAux: auxiliary = try !value.flag()
        case .block: block = try value.name("a residual block")
        case .`init`: initialWeights = try value.name("a safetensors or PyTorch file, a checkpoint, or pretrained")
        case .freeze: freeze = value.list.map(\.text)
        case .syncBatchNorm: synchronisesBatchNorm = try value.flag()
        case .data: data = try value.name("a data specification such as mnist-sample or mnist:DIR")
        case .augment:
            augment = try value.text == "none" ? [] : value.list.map { try $0.augmentation() }
            guard Set(augment.map(\.name)).count == augment.count else { throw value.invalid("each name once") }
        case .skipBroken: skipsBroken = try value.flag()
        case .noShuffle: shuffle = try !value.flag()
        case .sequenceLength: sequenceLength = try value.whole(atLeast: 1, atMost: 1_000_000)
        case .loaderThreads:
            loaderThreads = try value.whole(atLeast: 1, atMost: RunConfiguration.largestThreadCount)
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
        case .alpha: alpha = try value.number(.fraction)
        case .centered: centered = try value.flag()
        case .rateDecay: rateDecay = try value.number(.nonNegative)
        case .initialAccumulator: initialAccumulator = try value.number(.nonNegative)
        case .trustCoefficient: trustCoefficient = try value.number(.positive)
        case .epsilon:
            epsilon = try value.number(.positive)
            guard epsilon >= 1e-30 else { throw value.invalid("a number of at least 1e-30") }
        case .weightDecay: weightDecay = try value.number(.nonNegative)
        case .decay: decay = try value.choice(DecayScope.self)
        case .ema: averageDecay = try value.number(.fraction)
        case .emaWarmup: averageWarmsUp = try value.flag()
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
        case .power: power = try value.number(.positive)
        case .pctStart:
            pctStart = try value.number(.nonNegative)
            guard pctStart <= 1 else { throw value.invalid("a number from 0 to 1") }
        case .divFactor: divFactor = try value.number(.atLeastOne)
        case .finalDivFactor: finalDivFactor = try value.number(.atLeastOne)
        case .patience: patience = try value.whole(atLeast: 0)
        case .threshold: threshold = try value.number(.fraction)
        case .cooldown: cooldown = try value.whole(atLeast: 0)
        case .monitor: monitor = try value.choice(Monitor.self)
        case .earlyStop: earlyStop = try value.whole(atLeast: 1)
        case .minDelta: minimumDelta = try value.number(.nonNegative)
        case .warmupEpochs:
            warmupEpochs = try value.number(.nonNegative)
            guard warmupEpochs <= 1e9 else { throw value.invalid("a number of at most 1000000000") }
        case .seed: seed = try value.whole(atLeast: 0, atMost: .max)
        case .precision: precision = try value.choice(Precision.self)
        case .compress: compression = try value.choice(GradientCompression.self)
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
        case .trace: trace = try value.name("a file")
        case .traceSteps: traceSteps = try value.whole(atLeast: 1, atMost: 1000)
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
        case .imageSize: imageSize.map(String.init)
        case .noTop: "\(!top)"
        case .noAux: "\(!auxiliary)"
        case .block: block
        case .`init`: initialWeights
        case .freeze: freeze.isEmpty ? nil : freeze.joined(separator: ",")
        case .syncBatchNorm: "\(synchronisesBatchNorm)"
        case .data: data
        case .augment: augment.isEmpty ? nil : Augmentation.text(of: augment)
        case .skipBroken: "\(skipsBroken)"
        case .noShuffle: "\(!shuffle)"
        case .sequenceLength: "\(sequenceLength)"
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
        case .alpha: "\(alpha)"
        case .centered: "\(centered)"
        case .rateDecay: "\(rateDecay)"
        case .initialAccumulator: "\(initialAccumulator)"
        case .trustCoefficient: "\(trustCoefficient)"
        case .epsilon: "\(epsilon)"
        case .weightDecay: "\(weightDecay)"
        case .decay: decay.rawValue
        case .ema: averageDecay.map { "\($0)" }
        case .emaWarmup: "\(averageWarmsUp)"
        case .clipNorm: clipNorm.map { "\($0)" }
        case .labelSmoothing: "\(labelSmoothing)"
        case .schedule: schedule.rawValue
        case .milestones: milestones.isEmpty ? nil : milestones.map(String.init).joined(separator: ",")
        case .gamma: "\(gamma)"
        case .stepSize: "\(stepSize)"
        case .power: "\(power)"
        case .pctStart: "\(pctStart)"
        case .divFactor: "\(divFactor)"
        case .finalDivFactor: "\(finalDivFactor)"
        case .patience: "\(patience)"
        case .threshold: "\(threshold)"
        case .cooldown: "\(cooldown)"
        case .monitor: monitor.rawValue
        case .earlyStop: earlyStop.map(String.init)
        case .minDelta: "\(minimumDelta)"
        case .warmupEpochs: "\(warmupEpochs)"
        case .seed: "\(seed)"
        case .precision: precision.rawValue
        case .compress: compression.rawValue
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
        case .trace: trace
        case .traceSteps: trace == nil ? nil : "\(traceSteps)"
        case .progress: progress.rawValue
        case .quiet: "\(quiet)"
        }
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
