import ArgumentParser
import DTrainTrainer

/// The flags of `train`. Values are text here: `RunConfiguration` reads them, so that a flag and a line of a
/// configuration file are checked, and fail, alike.
struct TrainOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The model; 'models' lists them. Default cnn-mnist.", valueName: "name"))
    var model: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("Classes; default those of the data.", valueName: "n"))
    var classes: String?
    @Option(
        parsing: .unconditional, help: ArgumentHelp("Replaces the model's own dropout probability.", valueName: "p"))
    var dropout: String?
    @Option(
        name: .customLong("init"), help: ArgumentHelp("Weights to start from, a safetensors file.", valueName: "file"))
    var initialWeights: String?

    @Option(
        help: ArgumentHelp(
            "Parameters that training leaves alone, as patterns of their names: 'layer1.*,bn1.*'.",
            valueName: "patterns"))
    var freeze: String?
    @Flag(
        name: .customLong("sync-batchnorm"),
        help: "Batch normalisation by the statistics of all ranks together, so that their number changes nothing.")
    var syncBatchNorm = false

    @Option(
        help: ArgumentHelp(
            "mnist-sample, mnist:DIR, fashion-mnist:DIR or synthetic:HxWxC,CLASSES. Default mnist-sample.",
            valueName: "spec"))
    var data: String?
    @Option(
        help: ArgumentHelp("What is done to each sample: permute-pixels, or none. Default none.", valueName: "names"))
    var augment: String?
    @Flag(help: "Keep the samples in the order of the files.")
    var noShuffle = false
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Threads of each rank that read samples. Default 1.", valueName: "n"))
    var loaderThreads: String?

    @Option(parsing: .unconditional, help: ArgumentHelp("Epochs in all. Default 3, without --steps.", valueName: "n"))
    var epochs: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Steps (updates) in all; with --epochs, whichever ends first.", valueName: "n"))
    var steps: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Samples of one update over all ranks, accumulation included. Default 64.", valueName: "n"))
    var batchSize: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Parts in which a rank computes its share of a batch. Default 1.", valueName: "n"))
    var accumulate: String?

    @Option(help: ArgumentHelp("sgd, adam or adamw. Default sgd.", valueName: "name"))
    var optimizer: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Learning rate. Default 0.01; 0.001 for adam and adamw.", valueName: "rate"))
    var lr: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("Momentum of sgd. Default 0.9.", valueName: "m"))
    var momentum: String?
    @Flag(help: "Nesterov's form of sgd's momentum.")
    var nesterov = false
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Decay rates of adam's moments. Default 0.9,0.999.", valueName: "b1,b2"))
    var betas: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Weight decay on all parameters. Default 0; 0.01 for adamw.", valueName: "d"))
    var weightDecay: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Largest global norm of the gradient. Default none.", valueName: "norm"))
    var clipNorm: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Part of the target spread over all classes. Default 0.", valueName: "p"))
    var labelSmoothing: String?
    @Option(help: ArgumentHelp("constant, step, multistep or cosine. Default constant.", valueName: "name"))
    var schedule: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Epochs at which multistep lowers the rate, such as 30,60.", valueName: "epochs"))
    var milestones: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("Factor of step and multistep. Default 0.1.", valueName: "g"))
    var gamma: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Epochs between two reductions by step. Default 1.", valueName: "epochs"))
    var stepSize: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("Epochs of linear warm-up. Default 0.", valueName: "epochs"))
    var warmupEpochs: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Seed of weights, order, augmentation and dropout. Default 0.", valueName: "n"))
    var seed: String?
    @Option(help: ArgumentHelp("fp32.", valueName: "name"))
    var precision: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Processes that train on this machine, started through mpirun.", valueName: "n"))
    var workers: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Compute threads of each rank. Default: the cores granted, shared by the host's ranks.", valueName: "n"))
    var threads: String?
    @Option(
        help: ArgumentHelp(
            "inline: rank 0 trains too. dedicated: it only evaluates and writes checkpoints. Default inline.",
            valueName: "mode"))
    var coordinator: String?

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Steps between evaluations. Default once an epoch.", valueName: "n")
    )
    var evalEvery: String?
    @Option(
        parsing: .unconditional, help: ArgumentHelp("Steps between checkpoints. Default once an epoch.", valueName: "n")
    )
    var checkpointEvery: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Newest checkpoints to keep, beside the best. Default 3.", valueName: "n"))
    var keep: String?
    @Option(
        help: ArgumentHelp(
            "auto: go on from the newest valid checkpoint of --out. Or a checkpoint, or none.",
            valueName: "auto|path|none"))
    var resume: String?
    @Option(help: ArgumentHelp("The run directory. Default runs/MODEL-TIME.", valueName: "dir"))
    var out: String?
    @Option(help: ArgumentHelp("A YAML file of settings named like these flags; flags win over it.", valueName: "file"))
    var config: String?
    @Option(
        help: ArgumentHelp(
            "auto, bar, lines or none. Default auto: a bar on a terminal, lines elsewhere.", valueName: "how"))
    var progress: String?
    @Flag(help: "Show only warnings, errors and the result.")
    var quiet = false

    @Option(help: .hidden)
    var fault: String?
    @OptionGroup var logging: LoggingOptions

    /// The settings that were given as flags.
    var settings: RunSettings {
        var settings = RunSettings(source: RunSettings.commandLine)
        let texts: [(RunSetting, String?)] = [
            (.model, model), (.classes, classes), (.dropout, dropout), (.`init`, initialWeights),
            (.freeze, freeze), (.data, data),
            (.augment, augment), (.loaderThreads, loaderThreads), (.epochs, epochs), (.steps, steps),
            (.batchSize, batchSize), (.accumulate, accumulate), (.optimizer, optimizer), (.lr, lr),
            (.momentum, momentum), (.betas, betas), (.weightDecay, weightDecay), (.clipNorm, clipNorm),
            (.labelSmoothing, labelSmoothing), (.schedule, schedule), (.milestones, milestones), (.gamma, gamma),
            (.stepSize, stepSize), (.warmupEpochs, warmupEpochs), (.seed, seed), (.precision, precision),
            (.workers, workers), (.threads, threads), (.coordinator, coordinator), (.evalEvery, evalEvery),
            (.checkpointEvery, checkpointEvery), (.keep, keep), (.resume, resume), (.out, out), (.progress, progress),
        ]
        for (setting, text) in texts { settings.values[setting] = text }
        let flags: [(RunSetting, Bool)] = [
            (.noShuffle, noShuffle), (.nesterov, nesterov), (.quiet, quiet), (.syncBatchNorm, syncBatchNorm),
        ]
        for (setting, isOn) in flags where isOn { settings.values[setting] = "true" }
        return settings
    }

    /// The file's settings under the flags'.
    func layers() throws -> [RunSettings] { try (config.map { [try ConfigurationFile.read($0)] } ?? []) + [settings] }
}
