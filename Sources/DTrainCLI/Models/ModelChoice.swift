import DTrainCheckpoint
import DTrainData
import DTrainEngine
import DTrainModels
import DTrainTensor
import DTrainTrainer

/// A model as a command was told to build it.
struct ModelChoice {
    let entry: ModelEntry
    var options: ModelOptions

    func module() -> any Module { entry.make(options) }

    /// What `--augment preset` means; of no account for a model that reads no images.
    var presets: PresetFamily {
        if entry.input.isSequence { return .mnist }
        return PresetFamily(rawValue: entry.family.rawValue) ?? .usual(forImagesOf: entry.input.shape)
    }

    /// What may differ between a weights file and this model: the head may be of another size and then starts anew, or be
    /// missing on either side; so may auxiliary classifiers.
    var weightsPolicy: WeightsPolicy {
        let isHead: WeightsPolicy.Names = { [prefixes = entry.headPrefixes] name in
            prefixes.contains { name.hasPrefix($0) }
        }
        let isTop: WeightsPolicy.Names = { [prefixes = entry.topPrefixes] name in
            prefixes.contains { name.hasPrefix($0) }
        }
        let isAuxiliary: WeightsPolicy.Names = { $0.hasPrefix("aux") }
        return WeightsPolicy(
            isHead: isHead, classesDiffer: true, maySkip: { isHead($0) || isTop($0) || isAuxiliary($0) },
            mayLack: { WeightsPolicy.isBatchCounter($0) || isAuxiliary($0) })
    }

    /// Throws for the first of the settings that are `given` on which this model, on samples of shape `input`, does not
    /// depend. Giving a default is no mistake: each setting is compared with another value, not with its absence.
    func checkEffects(of given: [RunSetting], input: ModelInput) throws {
        func print(_ options: ModelOptions) throws -> String {
            try Graph.trace(
                entry.make(options), input: input, TraceOptions(.training, objective: .crossEntropy())
            ).fingerprint
        }
        for setting in given {
            var other = options
            switch setting {
            case .dropout: other.dropout = options.dropout == 0.5 ? 0.25 : 0.5
            case .noTop: other.top = true
            case .noAux: other.auxiliary = true
            case .block: other.block = options.block == .original ? .fullPreActivation : .original
            default: continue
            }
            guard other.saved != options.saved, try print(other) == print(options) else { continue }
            let what: [RunSetting: String] = [
                .dropout: "has no dropout layer", .noTop: "has no head",
                .noAux: "has no auxiliary classifiers", .block: "has no choice of blocks",
            ]
            throw ConfigurationError.withoutEffect(
                setting: setting.rawValue, reason: "\(entry.name) \(what[setting]!)", remedy: "leave it out")
        }
    }
}

extension ModelChoice {
    /// The model of a training run on `data`.
    init(_ entry: ModelEntry, _ configuration: RunConfiguration, data: OpenedData) throws {
        let classes = configuration.classes ?? data.classCount
        guard classes >= data.classCount else {
            throw UsageError(
                "--classes \(classes) is fewer than the \(data.classCount) classes of \(configuration.data).")
        }
        if case .sequences(let pair) = data, pair.labelsEachToken, classes > data.classCount {
            throw UsageError(
                "--classes \(classes) is more than the \(data.classCount) characters of \(configuration.data), which are its "
                    + "classes; leave --classes out.")
        }
        var options = ModelOptions(classes: classes, dropout: configuration.dropout.map { Float($0) })
        options.top = configuration.top
        options.auxiliary = configuration.auxiliary
        try options.setBlock(configuration.block)
        options.transformsInput = Pretrained.transformsInput(of: entry.name, weights: configuration.initialWeights)
        self.init(entry: entry, options: options)
    }

    /// Throws where the model is made for another kind of samples than `feed` has.
    func check(_ feed: any Feed) throws {
        guard entry.input.isSequence != feed.input.isSequence else { return }
        func kind(_ input: ModelInput) -> String { input.isSequence ? "sequences" : "images" }
        throw UsageError(
            "\(entry.name) reads \(kind(entry.input)) and \(feed.specification) holds \(kind(feed.input)): choose other --data, "
                + "or another --model.")
    }

    /// The same for the trainer. `initialWeights` is where rank 0 finds the weights, if not where the configuration says.
    func trainingModel(
        _ configuration: RunConfiguration, input: ModelInput, initialWeights: String?
    ) throws -> TrainingModel {
        var given: [RunSetting] = configuration.dropout == nil ? [] : [.dropout]
        if !configuration.top { given.append(.noTop) }
        if !configuration.auxiliary { given.append(.noAux) }
        if configuration.block != nil { given.append(.block) }
        try checkEffects(of: given, input: input)
        return TrainingModel(
            entry.name, options: options.saved, objective: entry.objective, module: module(), presets: presets,
            normalisation: Pretrained.areOfficial(configuration.initialWeights, of: entry.name)
                ? ImageFolder.imageNet : nil,
            weightsPolicy: weightsPolicy, initialWeightsPath: initialWeights)
    }
}
