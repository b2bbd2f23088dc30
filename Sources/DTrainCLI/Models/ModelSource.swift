import ArgumentParser
import DTrainCheckpoint
import DTrainData
import DTrainEngine
import DTrainModels
import DTrainTensor
import DTrainTrainer

/// Which model with which weights: a run's checkpoint, or a model's name with a weights file.
struct ModelSourceOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("A run directory (its best checkpoint, or the newest) or a checkpoint.", valueName: "dir"))
    var checkpoint: String?
    @Option(help: ArgumentHelp("Instead of a checkpoint: a model, for the weights of --init.", valueName: "name"))
    var model: String?
    @Option(
        name: .customLong("init"),
        help: ArgumentHelp("Its weights: a safetensors or PyTorch file, or pretrained.", valueName: "weights"))
    var initialWeights: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("Its classes. Default the model's own.", valueName: "n"))
    var classes: Int?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Height and width of the images that it sees. Default those of its training.", valueName: "n"))
    var imageSize: Int?
    @Flag(help: "Leave its head out: it returns features.")
    var noTop = false
    @Option(help: ArgumentHelp("The residual block of resnet-mnist.", valueName: "name"))
    var block: String?
    @OptionGroup var weights: WeightsOption

    /// - Parameter positional: a checkpoint given without `--checkpoint`.
    func source<Program: TrainingProgram>(_ program: Program.Type, positional: String? = nil) throws -> ModelSource {
        try checkImageSize(imageSize)
        try checkClasses(classes)
        let weightsChoice = try weights.choice()
        let checkpoints = [checkpoint, positional].compactMap { $0 }
        guard checkpoints.count + (model == nil ? 0 : 1) == 1 else {
            throw UsageError(
                checkpoints.isEmpty
                    ? "no model is given: name a run directory or a checkpoint, or give --model and --init."
                    : "give either one checkpoint or --model with --init, not both.")
        }
        if let given = checkpoints.first {
            guard initialWeights == nil, classes == nil, block == nil else {
                throw UsageError("--init, --classes and --block belong to --model; a checkpoint has its own.")
            }
            return try ModelSource(
                checkpoint: given, weightsChoice, program, withTop: !noTop, imageSize: imageSize)
        }
        guard let initialWeights else {
            throw UsageError("--model needs its weights: give --init with a file, or --init \(Pretrained.name).")
        }
        if weightsChoice != nil {
            throw UsageError("--weights has no effect: it belongs to a checkpoint; leave it out.")
        }
        let entry = try program.model(named: model!)
        let path = try Pretrained.resolve(initialWeights, model: entry.name)
        let trained = TrainingState(besideWeights: path)?.data
        // The characters decide how many classes there are.
        var options = ModelOptions(classes: classes ?? trained?.sequences?.classNames.count ?? entry.classes)
        options.top = !noTop
        options.auxiliary = false
        options.transformsInput = Pretrained.transformsInput(of: entry.name, weights: initialWeights)
        try options.setBlock(block)
        return ModelSource(
            choice: ModelChoice(entry: entry, options: options), origin: .weights(path, trained: trained),
            imageSize: imageSize)
    }
}

/// A model and where its weights are.
struct ModelSource {
    enum Origin {
        case checkpoint(Checkpoint, WeightsChoice?)
        /// A file, and what the run that it comes from says of its data, where the file is a run's.
        case weights(String, trained: DTrainCheckpoint.DataDescription?)
    }

    let choice: ModelChoice
    let origin: Origin
    /// What the command was told.
    let imageSize: Int?

    /// Where the weights are.
    var path: String {
        switch origin {
        case .checkpoint(let checkpoint, _): checkpoint.path
        case .weights(let path, _): path
        }
    }

    /// Updates of the run that the weights come from, and the epoch of the last one; 0 without a run.
    var step: Int {
        if case .checkpoint(let checkpoint, _) = origin { checkpoint.state.step } else { 0 }
    }
    var epoch: Int {
        guard case .checkpoint(let checkpoint, _) = origin else { return 0 }
        return checkpoint.state.samplesInEpoch == 0 ? max(0, checkpoint.state.epoch - 1) : checkpoint.state.epoch
    }
    /// Whether they come from a run.
    var isTrained: Bool { if case .checkpoint = origin { true } else { false } }

    /// The run's seed, for permuted pixels.
    var seed: UInt64 {
        if case .checkpoint(let checkpoint, _) = origin { checkpoint.state.seed } else { 0 }
    }

    /// What the checkpoint remembers of its images; for a model with weights alone, what its family is usually trained with.
    /// Nil for a checkpoint of an older version.
    var images: ImageDescription? {
        switch origin {
        case .checkpoint(let checkpoint, _): return checkpoint.state.data.images
        case .weights(_, let trained):
            guard !choice.entry.input.isSequence else { return nil }
            // A head of other classes does not know the run's.
            if var images = trained?.images {
                if images.classNames.count != choice.options.classes { images.classNames = [] }
                return images
            }
            let input = choice.entry.input.shape
            let normalisation = Normalisation.usual(for: choice.entry.family, channels: input[2])
            return ImageDescription(
                sampleShape: input.dimensions, sizesMayDiffer: true,
                inputShape: imageSize.map { [$0, $0, input[2]] } ?? input.dimensions, classNames: [],
                mean: normalisation.mean, standardDeviation: normalisation.standardDeviation, augmentations: "none")
        }
    }

    /// What the model's inputs are normalised by; nil for a checkpoint that does not say it.
    var normalisation: Normalisation? {
        images.map { Normalisation(mean: $0.mean, standardDeviation: $0.standardDeviation) }
    }

    /// What the checkpoint remembers of its sequences; nil for a model of images, and for weights alone.
    var sequences: SequenceDescription? {
        switch origin {
        case .checkpoint(let checkpoint, _): checkpoint.state.data.sequences
        case .weights(_, let trained): choice.entry.input.isSequence ? trained?.sequences : nil
        }
    }

    /// The same, or an error for a model of images.
    func requiredSequences() throws -> SequenceDescription {
        if let sequences { return sequences }
        if choice.entry.input.isSequence {
            throw UsageError("weights alone do not say which characters they read: give --checkpoint with a run.")
        }
        throw UsageError("\(path) (\(choice.entry.name)) reads no text: give --images.")
    }

    /// What is said of images, or an error where the checkpoint does not say it.
    func requiredImages() throws -> ImageDescription {
        if let images { return images }
        guard !choice.entry.input.isSequence else {
            throw UsageError("\(choice.entry.name) reads sequences and no images: choose another model.")
        }
        throw UsageError(
            "\(path) does not say how images are prepared (it is of an older version): train on from it first.")
    }

    /// The model with its weights, for samples of the kind `input` and at most `capacity` of them at once, in `streams`
    /// streams where its state is carried; `capacity` by default.
    func replica(input: ModelInput, capacity: Int, streams: Int? = nil, pool: ThreadPool) throws -> Replica {
        let replica = try Replica(
            choice.module(), input: input, objective: choice.entry.objective, capacity: capacity, streams: streams,
            pool: pool, trains: false)
        let arena = NamedArena(replica.layout, replica.parameters)
        switch origin {
        case .checkpoint(let checkpoint, let weights):
            if choice.options.top || checkpoint.state.model.options["no-top"] != nil {
                try checkpoint.loadModel(into: [arena], weights)
            } else {
                try loadWeights(checkpoint.modelPath, into: arena.targets, policy: choice.weightsPolicy)
            }
        case .weights(let path, _):
            var policy = choice.weightsPolicy
            policy.classesDiffer = false
            try loadWeights(path, into: arena.targets, policy: policy)
        }
        return replica
    }
}

extension ModelSource {
    /// The model of a checkpoint, or of a run directory's best one, by what the checkpoint says of it.
    init<Program: TrainingProgram>(
        checkpoint path: String, _ weights: WeightsChoice?, _ program: Program.Type, withTop: Bool = true,
        imageSize: Int? = nil
    ) throws {
        let checkpoint = try CheckpointLocation.open(path)
        var choice = ModelChoice(
            entry: try program.model(named: checkpoint.state.model.name),
            options: ModelOptions(saved: checkpoint.state.model.options, classes: 0))
        if !withTop { choice.options.top = false }
        self.init(choice: choice, origin: .checkpoint(checkpoint, weights), imageSize: imageSize)
    }
}

extension SequenceDescription {
    /// The characters that the model was trained on, by number.
    var vocabulary: Vocabulary {
        Vocabulary(characters.unicodeScalars, folding: folding.flatMap(TextFolding.init(rawValue:)))
    }
}

extension Normalisation {
    /// What models of `family` are usually trained with, on `channels` channels.
    static func usual(for family: ModelFamily, channels: Int) -> Normalisation {
        switch family {
        case .imagenet where channels == 3: ImageFolder.imageNet
        case .cifar where channels == 3: CIFARDataset.Kind.cifar10.normalisation
        default:
            Normalisation(
                mean: [Float](repeating: 0.1307, count: channels),
                standardDeviation: [Float](repeating: 0.3081, count: channels))
        }
    }
}
