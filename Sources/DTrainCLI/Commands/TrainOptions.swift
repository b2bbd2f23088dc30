import ArgumentParser
import DTrainData
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
        parsing: .unconditional,
        help: ArgumentHelp(
            "Height and width of the images that the model sees. Default those of the data or, where they differ, those "
                + "that the model is made for.", valueName: "n"))
    var imageSize: String?
    @Flag(help: "Leave the model's head out: it returns features.")
    var noTop = false
    @Flag(help: "Leave auxiliary classifiers out (googlenet).")
    var noAux = false
    @Option(help: ArgumentHelp("The residual block of resnet-mnist, such as full-pre-activation.", valueName: "name"))
    var block: String?
    @Option(
        name: .customLong("init"),
        help: ArgumentHelp(
            "Weights to start from: a safetensors or PyTorch file, a checkpoint, or pretrained (torchvision's, "
                + "downloaded once). A head of another size starts anew.", valueName: "weights"))
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
            "\(DataSpecification.forms.joined(separator: ", ")). Default mnist-sample.", valueName: "spec"))
    var data: String?
    @Option(
        help: ArgumentHelp(
            "What is done to each sample, separated by commas: \(Augmentation.forms.joined(separator: ", ")). "
                + "Default none.", valueName: "list"))
    var augment: String?
    @Flag(help: "Leave out images that cannot be read, and name them, instead of ending.")
    var skipBroken = false
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Characters of a text that each position of the batch learns from at once. Default 64.", valueName: "n"))
    var sequenceLength: String?
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

    @Option(help: ArgumentHelp("sgd, adam, adamw, rmsprop, adagrad, lars or lamb. Default sgd.", valueName: "name"))
    var optimizer: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Learning rate. Default 0.01; 0.001 for adam, adamw, lamb; 1 for lars.", valueName: "rate"))
    var lr: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Momentum of sgd, lars, rmsprop. Default 0.9; 0 for rmsprop.", valueName: "m"))
    var momentum: String?
    @Flag(help: "Nesterov's form of the momentum of sgd and lars.")
    var nesterov = false
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Decay rates of the moments of adam, adamw, lamb. Default 0.9,0.999.", valueName: "b1,b2"))
    var betas: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Decay rate of rmsprop's mean square. Default 0.99.", valueName: "a"))
    var alpha: String?
    @Flag(help: "Take the square of the mean off rmsprop's mean square.")
    var centered = false
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Adagrad's rate is the rate / (1 + updates times this). Default 0.", valueName: "d"))
    var lrDecay: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("What adagrad's sums of squares start from. Default 0.", valueName: "x"))
    var initialAccumulator: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Trust coefficient of lars. Default 0.001.", valueName: "c"))
    var trustCoefficient: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Keeps the divisions of adam and its like from 0. Default 1e-8; 1e-10 for adagrad, 1e-6 for lamb.",
            valueName: "e"))
    var epsilon: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Weight decay. Default 0; 0.01 for adamw and lamb.", valueName: "d"))
    var weightDecay: String?
    @Option(
        help: ArgumentHelp(
            "What decays: all parameters, or weights: neither biases nor normalisations. Default all.",
            valueName: "all|weights"))
    var decay: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Keep an exponential moving average of the weights with this decay, and evaluate it. Default none.",
            valueName: "decay"))
    var ema: String?
    @Flag(help: "Let the average's decay after t updates be at most (1 + t)/(10 + t).")
    var emaWarmup = false
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Largest global norm of the gradient. Default none.", valueName: "norm"))
    var clipNorm: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Part of the target spread over all classes. Default 0.", valueName: "p"))
    var labelSmoothing: String?
    @Option(
        help: ArgumentHelp(
            "constant, step, multistep, cosine, polynomial, onecycle or plateau. Default constant.", valueName: "name"))
    var schedule: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Epochs at which multistep lowers the rate, such as 30,60.", valueName: "epochs"))
    var milestones: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Factor of step, multistep and plateau. Default 0.1.", valueName: "g"))
    var gamma: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Epochs between two reductions by step. Default 1.", valueName: "epochs"))
    var stepSize: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("Exponent of polynomial. Default 1.", valueName: "p"))
    var power: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Part of the run in which onecycle rises to --lr. Default 0.3.", valueName: "p"))
    var pctStart: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Onecycle starts from --lr over this. Default 25.", valueName: "x"))
    var divFactor: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Onecycle ends at its first rate over this. Default 10000.", valueName: "x"))
    var finalDivFactor: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Bad evaluations that plateau lets pass. Default 10.", valueName: "n"))
    var patience: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Relative improvement that plateau asks for. Default 0.0001.", valueName: "x"))
    var threshold: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Evaluations that plateau ignores after a reduction. Default 0.", valueName: "n"))
    var cooldown: String?
    @Option(
        help: ArgumentHelp(
            "What plateau and early stopping watch in the test split. Default loss.",
            valueName: "loss|top1"))
    var monitor: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "End the run after so many evaluations in a row without improvement; it takes effect at the evaluation after "
                + "them. Default never.", valueName: "n"))
    var earlyStop: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Improvement that early stopping asks for. Default 0.", valueName: "x"))
    var minDelta: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("Epochs of linear warm-up. Default 0.", valueName: "epochs"))
    var warmupEpochs: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Seed of weights, order, augmentation and dropout. Default 0.", valueName: "n"))
    var seed: String?
    @Option(
        help: ArgumentHelp(
            "fp32, or bf16: convolutions, linear and recurrent layers multiply bf16, where the processor does, and images are "
                + "stored so; parameters and evaluation stay fp32. Default fp32.",
            valueName: "name"))
    var precision: String?
    @Option(
        help: ArgumentHelp(
            "How gradients travel between hosts: none, or bf16: half the bytes, with error feedback. Default none.",
            valueName: "how"))
    var compress: String?

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
    @Option(
        help: ArgumentHelp(
            "Write down what each thread of each rank does in the first steps, for ui.perfetto.dev. Default no trace.",
            valueName: "file"))
    var trace: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Steps that the trace shows, up to 1000. Default 20.", valueName: "n"))
    var traceSteps: String?
    @Option(
        help: ArgumentHelp(
            "An experiment of the lectures: \(Recipe.all.map(\.name).joined(separator: ", ")). Flags win over it.",
            valueName: "name"))
    var recipe: String?
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
            (.model, model), (.classes, classes), (.dropout, dropout), (.imageSize, imageSize), (.block, block),
            (.`init`, initialWeights),
            (.freeze, freeze), (.data, data),
            (.augment, augment), (.sequenceLength, sequenceLength), (.loaderThreads, loaderThreads), (.epochs, epochs),
            (.steps, steps),
            (.batchSize, batchSize), (.accumulate, accumulate), (.optimizer, optimizer), (.lr, lr),
            (.momentum, momentum), (.betas, betas), (.alpha, alpha), (.rateDecay, lrDecay),
            (.initialAccumulator, initialAccumulator), (.trustCoefficient, trustCoefficient), (.epsilon, epsilon),
            (.weightDecay, weightDecay), (.decay, decay), (.ema, ema), (.clipNorm, clipNorm), (.power, power),
            (.pctStart, pctStart), (.divFactor, divFactor), (.finalDivFactor, finalDivFactor), (.patience, patience),
            (.threshold, threshold), (.cooldown, cooldown), (.monitor, monitor), (.earlyStop, earlyStop),
            (.minDelta, minDelta),
            (.labelSmoothing, labelSmoothing), (.schedule, schedule), (.milestones, milestones), (.gamma, gamma),
            (.stepSize, stepSize), (.warmupEpochs, warmupEpochs), (.seed, seed), (.precision, precision),
            (.compress, compress),
            (.workers, workers), (.threads, threads), (.coordinator, coordinator), (.evalEvery, evalEvery),
            (.checkpointEvery, checkpointEvery), (.keep, keep), (.resume, resume), (.out, out), (.trace, trace),
            (.traceSteps, traceSteps), (.progress, progress),
        ]
        for (setting, text) in texts { settings.values[setting] = text }
        let flags: [(RunSetting, Bool)] = [
            (.noShuffle, noShuffle), (.nesterov, nesterov), (.quiet, quiet), (.syncBatchNorm, syncBatchNorm),
            (.noTop, noTop), (.noAux, noAux), (.skipBroken, skipBroken),
            (.centered, centered), (.emaWarmup, emaWarmup),
        ]
        for (setting, isOn) in flags where isOn { settings.values[setting] = "true" }
        return settings
    }

    /// The recipe's settings under the file's under the flags'.
    func layers() throws -> [RunSettings] {
        let chosen = try recipe.map { try Recipe.named($0) }
        let given = try (config.map { [try ConfigurationFile.read($0)] } ?? []) + [settings]
        let hasStart = given.contains { $0.values[.`init`] != nil || $0.values[.resume].map { $0 != "none" } ?? false }
        if let chosen, let start = chosen.start, !hasStart {
            throw UsageError(
                "--recipe \(chosen.name) begins with trained weights: give --init with a run of --recipe \(start).")
        }
        return (chosen.map { [$0.layer] } ?? []) + given
    }
}
