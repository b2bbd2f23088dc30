import ArgumentParser
import DTrainCheckpoint
import DTrainData
import DTrainEngine
import DTrainModels
import DTrainReport
import DTrainTrainer
import Foundation
import Logging

struct TrainCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "train",
            abstract: "Train a model: data-parallel, with checkpoints, to be resumed at any time.",
            discussion: """
                --batch-size is the global batch: the number of ranks changes the speed, not the result.
                On a resume, steps, epochs, early stopping, workers, threads, coordinator, cadences and retention may
                change.
                """)
    }

    @OptionGroup var options: TrainOptions

    func run() throws {
        let log = try options.logging.logger()
        let fault = try options.fault.map { try CheckpointFault($0) }
        let layers = try options.layers()
        let launch = LaunchEnvironment()
        let facts = MachineFacts.gather()
        if !launch.isLaunched {
            let plan = try RunPlan(layers: layers)
            _ = try Program.model(named: plan.configuration.model)
            let processes = Self.processes(plan.configuration)
            if processes > 1 {
                throw ExitCode(try launcher(plan, processes: processes, facts: facts, log: log).run())
            }
        }
        let stop = StopFlag()
        let signals = SignalWatcher(onFirst: { number in
            stop.request(number)
            if number == SIGINT, launch.speaks { Console.diagnostic(WorkerLauncher.stopNotice) }
        })
        let job = try Job(launch, facts: facts, name: Program.name)
        let code = job.run { try train(job, launch, layers: layers, fault: fault, stop: stop, log: log) }
        withExtendedLifetime(signals) {}
        if code != ExitStatus.done.rawValue { throw ExitCode(code) }
    }

    /// The processes that `--workers` asks for, a dedicated coordinator included.
    private static func processes(_ configuration: RunConfiguration) -> Int {
        guard let workers = configuration.workers else { return 1 }
        return workers + (configuration.coordinator == .dedicated ? 1 : 0)
    }

    private func launcher(_ plan: RunPlan, processes: Int, facts: MachineFacts, log: Logger) throws -> WorkerLauncher {
        var arguments = Array(CommandLine.arguments.dropFirst())
        // The default directory's name holds the time: this process names it, so that it can tell where to go on.
        if options.settings.values[.out] == nil {
            arguments += (arguments.isEmpty ? ["train"] : []) + ["--out", plan.directory]
        }
        return WorkerLauncher(
            processes: processes, command: [facts.program] + arguments, facts: facts, log: log,
            remedy: "Go on from the last checkpoint with\n  "
                + NextCommands(facts, plan.configuration, directory: plan.directory).resume)
    }

    private func train(
        _ job: Job, _ launch: LaunchEnvironment, layers: [RunSettings], fault: CheckpointFault?, stop: StopFlag,
        log: Logger
    ) throws -> ExitStatus {
        let briefing = try job.fromRankZero { RunBriefing(layers: layers, plan: try RunPlan(layers: layers)) }
        let configuration = try briefing.configuration(layers: layers, rank: job.rank, host: job.facts.host)
        // A run that goes on may have been saved with another number.
        let givesWorkers = layers.contains { $0.values[.workers] != nil }
        try job.checkWorkers(
            givesWorkers ? configuration.workers : nil, training: configuration.trainingRanks(of: job.queue.size),
            launch)
        try configuration.validate(ranks: job.queue.size)
        let entry = try Program.model(named: configuration.model)
        let data = try open(configuration)
        let threads = job.threads(configuration.threads)
        log.debug("rank \(job.rank) of \(job.queue.size) on \(job.facts.host): \(threads) threads")

        let choice = try ModelChoice(entry, configuration, data: data)
        let feed = try configuration.feed(of: data, presets: choice.presets)
        try configuration.validate(trainingSamples: feed.trainingSamples)
        try choice.check(feed)
        // A new run alone looks for weights; rank 0 fetches them for all.
        let initialWeights =
            try configuration.initialWeights == Pretrained.name && configuration.resume == .none
            ? job.fromRankZero { try Pretrained.path(of: entry.name) } : nil
        let reporter = RunReporter(configuration)
        let trainer = Trainer(
            configuration,
            model: try choice.trainingModel(
                configuration, input: feed.input, initialWeights: initialWeights),
            data: data, queue: job.queue,
            threads: threads,
            files: RunFiles(
                directory: briefing.directory, configurationText: configuration.saved.yaml, fault: fault),
            events: reporter, stop: stop)
        let outcome = try trainer.run()
        if job.speaks { report(outcome, reporter, configuration, job, directory: briefing.directory) }
        if case .stopped = outcome { return .stopped }
        return .done
    }

    /// Opens the data. Where a recipe's are missing, the error says where they come from.
    private func open(_ configuration: RunConfiguration) throws -> OpenedData {
        do { return try configuration.dataSpecification.open() } catch let error as DataError {
            guard case .unreadable = error, let recipe = try options.recipe.map({ try Recipe.named($0) }),
                let origin = recipe.origin, configuration.data == recipe.settings[.data]
            else { throw error }
            throw MissingRecipeData(error: error, remedy: origin)
        }
    }

    private func report(
        _ outcome: TrainerOutcome, _ reporter: RunReporter, _ configuration: RunConfiguration, _ job: Job,
        directory: String
    ) {
        let next = NextCommands(job.facts, configuration, directory: directory, ranks: job.queue.size)
        switch outcome {
        case .stopped:
            Console.diagnostic("\(Program.name): go on with\n  \(next.resume)\n")
        case .completed, .alreadyComplete:
            if case .alreadyComplete(let step) = outcome {
                Console.diagnostic(
                    "\(Program.name): the run is complete at step \(step); give more --epochs or --steps"
                        + (configuration.earlyStop == nil ? "" : ", or a larger --early-stop,") + " to train on\n")
            }
            let commands = [
                ("evaluate it again", next.evaluate), ("train on", next.trainOn(endedEarly: reporter.endedEarly)),
            ]
            guard let summary = reporter.summary(nextCommands: commands) else { return }
            Console.result(configuration.quiet ? summary.resultLine + "\n" : summary.text)
        }
    }
}

/// Complete commands for this machine.
struct NextCommands {
    private let program: String
    private let configuration: RunConfiguration
    private let directory: String
    private let ranks: Int

    init(_ facts: MachineFacts, _ configuration: RunConfiguration, directory: String, ranks: Int = 1) {
        program = facts.programInShell
        self.configuration = configuration
        self.directory = directory
        self.ranks = ranks
    }

    var evaluate: String { "\(program) evaluate \(shellQuoted(directory))" }
    var resume: String { "\(program) train --resume auto --out \(shellQuoted(directory))\(workers)" }
    func trainOn(endedEarly: Bool) -> String {
        if endedEarly, let patience = configuration.earlyStop { return resume + " --early-stop \(2 * patience)" }
        let length =
            if let epochs = configuration.epochs { " --epochs \(2 * epochs)" } else {
                " --steps \(2 * (configuration.steps ?? 1))"
            }
        return resume + length
    }

    /// Ranks that mpirun started are workers next time; what `--workers` asked for is saved in config.yaml.
    private var workers: String {
        let training = configuration.trainingRanks(of: ranks)
        return ranks > 1 && configuration.workers != training ? " --workers \(training)" : ""
    }
}
