import ArgumentParser
import DTrainCheckpoint
import DTrainData
import DTrainEngine
import DTrainEvents
import DTrainModels
import DTrainReport
import DTrainTensor
import DTrainTrainer
import Foundation

struct EvaluateCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "evaluate",
            abstract: "Measure a checkpoint's accuracy and loss; every sample counts exactly once.",
            discussion: "Model, data and augmentation are those of the run unless given here. Under mpirun the ranks "
                + "share the work.")
    }

    @Argument(help: "A run directory (its best checkpoint, or the newest) or a checkpoint; or give --model and --init.")
    var source: String?
    @OptionGroup var model: ModelSourceOptions
    @Option(help: ArgumentHelp("The data set, as for 'train'. Default the run's.", valueName: "spec"))
    var data: String?
    @Option(help: ArgumentHelp("train or test.", valueName: "name"))
    var split = "test"
    @Option(help: ArgumentHelp("As --augment of 'train' takes it. Default the run's.", valueName: "list"))
    var augment: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Samples computed at once on each rank. Default 256, or 32 of large images.", valueName: "n"))
    var batchSize: Int?
    @Flag(help: "Leave out images that cannot be read, and name them, instead of ending.")
    var skipBroken = false
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Compute threads of each rank. Default: its share of the cores granted.", valueName: "n"))
    var threads: Int?
    @Flag(help: "Print the 'eval' object of metrics.jsonl.")
    var json = false

    func run() throws {
        let part = try namedChoice("split", split, of: DatasetSplit.self)
        if let batchSize, batchSize < 1 {
            throw UsageError("--batch-size '\(batchSize)' is not valid: give at least 1.")
        }
        try checkThreads(threads)
        if model.noTop {
            throw UsageError(
                "--no-top leaves nothing to evaluate: features are no classes; use it with predict or export.")
        }
        let augmentations = try augment.map { try Augmentation.parse($0) }
        let specification = try data.map { try DataSpecification.parse($0) }

        let launch = LaunchEnvironment()
        let job = try Job(launch, facts: MachineFacts.gather(), name: Program.name)
        let code = job.run {
            try evaluate(job, part, augmentations, specification)
            return .done
        }
        if code != ExitStatus.done.rawValue { throw ExitCode(code) }
    }

    private func evaluate(
        _ job: Job, _ part: DatasetSplit, _ augmentations: [Augmentation]?, _ specification: DataSpecification?
    ) throws {
        let source = try model.source(Program.self, positional: source)
        let data = try dataSpecification(source, specification).open()
        var choice = source.choice
        if choice.options.classes == 0 { choice.options.classes = data.classCount }
        if case .sequences(let pair) = data, let trained = source.sequences {
            try check(pair, of: source.path, against: trained)
        }
        guard !choice.options.top || choice.options.classes >= data.classCount else {
            throw UsageError(
                "the model has \(choice.options.classes) classes and \(data.specification) has \(data.classCount); "
                    + "give other --data.")
        }
        let name = Program.name
        let broken = skipBroken ? BrokenSamples { Console.diagnostic("\(name): left out: \($0.error)\n") } : nil
        let feed = try feed(source, data, augmentations, broken)
        try choice.check(feed)
        let replica: Replica
        do {
            let capacity = batchSize ?? (feed.input.shape.count > 64 * 64 * 3 ? 32 : 256)
            replica = try ModelSource(choice: choice, origin: source.origin, imageSize: nil).replica(
                input: feed.input, capacity: min(capacity, max(1, feed.count(part))),
                streams: feed.isStream ? max(capacity, SequenceFeed.largestEvaluationStreamCount) : nil,
                pool: ThreadPool(threadCount: job.threads(threads)))
        } catch {
            guard case CheckpointError.mismatch(_, let mismatch) = error, specification != nil,
                case .checkpoint(let checkpoint, _) = source.origin
            else { throw error }
            throw UsageError(
                "\(data.specification) has samples of \(feed.input.shape), and the model was trained on "
                    + "\(checkpoint.state.data.specification): \(mismatch); give other --data.")
        }
        let evaluation = try Evaluation.run(replica, on: feed, split: part, queue: job.queue, countsConfusion: true)
        guard job.speaks else { return }
        let result = EvaluationCompleted(
            step: source.step, epoch: source.epoch, split: part.rawValue, loss: evaluation.loss,
            correct: evaluation.correct, correctTop5: evaluation.correctTop5, samples: evaluation.samples,
            seconds: evaluation.seconds, countsCharacters: feed.labelsEachToken)
        let classes = ClassReport(evaluation.confusion!, names: data.classNames)
        if json {
            var object = result.json
            classes.add(to: &object)
            Console.result(object.text + "\n")
        } else {
            Console.result(text(result, source, data.specification, unit: feed.unit) + classes.text)
        }
    }

    private func dataSpecification(_ source: ModelSource, _ given: DataSpecification?) throws -> DataSpecification {
        if let given { return given }
        guard case .checkpoint(let checkpoint, _) = source.origin else {
            throw UsageError("a model without a run has no data: give --data.")
        }
        return try DataSpecification.parse(checkpoint.state.data.specification)
    }

    /// How the samples of `data` become what the model was trained to see.
    private func feed(
        _ source: ModelSource, _ data: OpenedData, _ augmentations: [Augmentation]?, _ broken: BrokenSamples?
    ) throws -> any Feed {
        switch data {
        case .images(let pair):
            return ImageFeed(
                pair, transforms: try pipeline(source, pair, augmentations), normalisation: source.normalisation,
                seed: source.seed, brokenSamples: broken)
        case .sequences(let pair):
            let options = [("--augment", augment != nil), ("--skip-broken", skipBroken)]
            if let (option, _) = options.first(where: \.1) { _ = try data.images(for: option) }
            return try SequenceFeed(pair, streams: 1, sequenceLength: source.sequences?.longest ?? 64)
        }
    }

    /// The numbers of the characters, and those of the classes, must mean what they meant in training.
    private func check(_ pair: SequencePair, of path: String, against trained: SequenceDescription) throws {
        if let difference = trained.vocabularyDifference(from: SequenceDescription(pair, longest: trained.longest)) {
            throw TrainerError.vocabularyDiffers(
                path: path, data: "\(pair.specification)", difference: difference, remedy: "give other --data")
        }
        let (own, others) = (trained.classNames, pair.classNames)
        guard own != others else { return }
        func list(_ names: [String], without others: [String], _ whose: String) -> String {
            let extra = names.filter { !others.contains($0) }.map(\.escaped)
            guard !extra.isEmpty else { return "" }
            return "; only \(whose) \(extra.prefix(5).joined(separator: ", "))"
                + (extra.count > 5 ? " and \(extra.count - 5) more" : "")
        }
        throw UsageError(
            "the classes of \(path) (\(own.count)) are not those of \(pair.specification) (\(others.count))"
                + list(own, without: others, "the model knows") + list(others, without: own, "the data have")
                + "; give --data with the classes that it was trained on.")
    }

    /// How images become what the model was trained to see.
    private func pipeline(
        _ source: ModelSource, _ pair: DatasetPair, _ augmentations: [Augmentation]?
    ) throws -> TransformPipeline {
        let images = source.images
        let input = images.map { Shape($0.inputShape) }
        let size = model.imageSize ?? input.flatMap { $0[0] == $0[1] ? $0[0] : nil }
        return try TransformPipeline(
            augmentations ?? images.map { try Augmentation.parse($0.augmentations) } ?? [],
            family: source.choice.presets, sampleShape: pair.sampleShape,
            sizesMayDiffer: pair.train.sizesMayDiffer || pair.test.sizesMayDiffer, imageSize: size,
            normalisation: source.normalisation ?? pair.train.normalisation, seed: source.seed)
    }

    /// What the loss of a text's characters means.
    private func perCharacter(_ result: EvaluationCompleted) -> String {
        guard let perplexity = result.perplexity, let bits = result.bitsPerCharacter else { return "" }
        return " nats a character, \(Formatting.decimal(bits, 4)) bits, perplexity \(Formatting.decimal(perplexity, 2))"
    }

    private func text(_ result: EvaluationCompleted, _ source: ModelSource, _ data: DataSpecification, unit: String)
        -> String
    {
        """
        \(source.path)  \(source.choice.entry.name)\(source.isTrained ? " after \(Formatting.count(result.step, "step"))" : "")
        \(data), \(result.split) split, \(Formatting.count(result.samples, unit))
        top-1  \(Formatting.percent(result.correct, of: result.samples)) (\(Formatting.whole(result.correct)) correct)
        top-5  \(Formatting.percent(result.correctTop5, of: result.samples))
        loss   \(Formatting.decimal(result.loss, 4))\(perCharacter(result))
        time   \(Formatting.duration(result.seconds))

        """
    }
}
