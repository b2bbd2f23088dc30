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

    @Argument(help: "A run directory (its best checkpoint, or the newest) or a checkpoint.")
    var source: String
    @Option(help: ArgumentHelp("The data set, as for 'train'. Default the run's.", valueName: "spec"))
    var data: String?
    @Option(help: ArgumentHelp("train or test. Default test.", valueName: "name"))
    var split = "test"
    @Option(help: ArgumentHelp("As --augment of 'train' takes it. Default the run's.", valueName: "list"))
    var augment: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Samples computed at once on each rank. Default 256.", valueName: "n"))
    var batchSize = 256
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Compute threads of each rank. Default: its share of the cores granted.", valueName: "n"))
    var threads: Int?
    @OptionGroup var weights: WeightsOption
    @Flag(help: "Print the 'eval' object of metrics.jsonl.")
    var json = false

    func run() throws {
        guard let part = DatasetSplit(rawValue: split) else {
            let names = DatasetSplit.allCases.map(\.rawValue)
            throw UsageError(
                "--split '\(split)' is not valid\(suggestion(for: split, among: names)): give one of "
                    + "\(names.joined(separator: ", ")).")
        }
        guard batchSize >= 1 else { throw UsageError("--batch-size '\(batchSize)' is not valid: give at least 1.") }
        try checkThreads(threads)
        let choice = try weights.choice()
        let augmentations = try augment.map { try Augmentation.parse($0) }
        let specification = try data.map { try DataSpecification.parse($0) }

        let launch = LaunchEnvironment()
        let job = try Job(launch, facts: MachineFacts.gather(), name: Program.name)
        let code = job.run {
            try evaluate(job, part, augmentations, specification, choice)
            return .done
        }
        if code != ExitStatus.done.rawValue { throw ExitCode(code) }
    }

    private func evaluate(
        _ job: Job, _ part: DatasetSplit, _ augmentations: [Augmentation]?, _ specification: DataSpecification?,
        _ choice: WeightsChoice?
    ) throws {
        let checkpoint = try CheckpointLocation.open(source)
        let state = checkpoint.state
        let pair = try (specification ?? DataSpecification.parse(state.data.specification)).open()
        let entry = try Program.model(named: state.model.name)
        let classes = state.model.options["classes"].flatMap(Int.init) ?? pair.classCount
        guard classes >= pair.classCount else {
            throw UsageError(
                "the model has \(classes) classes and \(pair.specification) has \(pair.classCount); give other --data.")
        }
        let transforms = try TransformPipeline(
            augmentations ?? checkpoint.savedAugmentations(), family: .usual(forImagesOf: entry.input),
            sampleShape: pair.sampleShape, sizesMayDiffer: pair.train.sizesMayDiffer || pair.test.sizesMayDiffer,
            normalisation: pair.train.normalisation, seed: state.seed)
        let options = ModelOptions(classes: classes, dropout: state.model.options["dropout"].flatMap(Float.init))
        let replica = try Replica(
            entry.make(options), input: transforms.outputShape, objective: entry.objective,
            capacity: min(batchSize, max(1, pair[part].count)), pool: ThreadPool(threadCount: job.threads(threads)))
        do {
            try checkpoint.loadModel(into: [NamedArena(replica.layout, replica.parameters)], choice)
        } catch {
            guard case .mismatch(_, let mismatch) = error, specification != nil else { throw error }
            throw UsageError(
                "\(pair.specification) has samples of \(pair.sampleShape), and the model was trained on "
                    + "\(state.data.specification): \(mismatch); give other --data.")
        }
        let evaluation = try Evaluation.run(
            replica, on: pair[part], transforms: transforms.evaluation, seed: state.seed, queue: job.queue)
        guard job.speaks else { return }
        // The epoch of the last update, not of the next one.
        let epoch = state.samplesInEpoch == 0 ? max(0, state.epoch - 1) : state.epoch
        let result = EvaluationCompleted(
            step: state.step, epoch: epoch, split: part.rawValue, loss: evaluation.loss,
            correct: evaluation.correct, correctTop5: evaluation.correctTop5, samples: evaluation.samples,
            seconds: evaluation.seconds)
        Console.result(json ? result.json.text + "\n" : text(result, checkpoint, pair))
    }

    private func text(_ result: EvaluationCompleted, _ checkpoint: Checkpoint, _ pair: DatasetPair) -> String {
        """
        \(checkpoint.path)  \(checkpoint.state.model.name) after \(Formatting.count(result.step, "step"))
        \(pair.specification), \(result.split) split, \(Formatting.count(result.samples, "sample"))
        top-1  \(Formatting.percent(result.correct, of: result.samples)) (\(Formatting.whole(result.correct)) correct)
        top-5  \(Formatting.percent(result.correctTop5, of: result.samples))
        loss   \(Formatting.decimal(result.loss, 4))
        time   \(Formatting.duration(result.seconds))

        """
    }
}
