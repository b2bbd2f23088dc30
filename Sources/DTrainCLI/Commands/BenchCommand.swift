import ArgumentParser
import DTrainCollectives
import DTrainData
import DTrainEngine
import DTrainModels
import DTrainReport
import DTrainTensor
import DTrainTrainer
import Foundation

struct BenchCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "bench",
            abstract: "Measure the speed of training on made-up input: forward, backward, exchange and update.",
            discussion: "Batch size and rate are those of all ranks together: mpirun -np 2 \(Program.name) bench, or "
                + "--workers 2. The rate is the median over the steps.")
    }

    @Option(help: ArgumentHelp("The model; 'models' lists them.", valueName: "name"))
    var model = "cnn-mnist"
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Samples of one update over all ranks. Default 64 a rank.", valueName: "n"))
    var batchSize: Int?
    @Option(
        help: ArgumentHelp(
            "fp32, or bf16: convolutions, linear and recurrent layers multiply bf16, where the processor does.",
            valueName: "name"))
    var precision = "fp32"
    @Option(help: ArgumentHelp("How gradients travel between hosts: none or bf16.", valueName: "how"))
    var compress = "none"
    @Option(parsing: .unconditional, help: ArgumentHelp("Measured steps.", valueName: "n"))
    var steps = 50
    @Option(
        help: ArgumentHelp(
            "A data set to read while steps are computed, as in training; the table shows the time spent waiting for it. "
                + "Default input made up beforehand.", valueName: "spec"))
    var data: String?
    @Option(help: ArgumentHelp("What is done to its samples, as for 'train'. Default none.", valueName: "list"))
    var augment: String?
    @Option(
        parsing: .unconditional, help: ArgumentHelp("Threads of each rank that read it.", valueName: "n"))
    var loaderThreads = 1
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Height and width of the images that the model sees.", valueName: "n"))
    var imageSize: Int?
    @Flag(help: "Leave auxiliary classifiers out (googlenet).")
    var noAux = false
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Compute threads of each rank. Default: its share of the cores granted.", valueName: "n"))
    var threads: Int?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Processes on this machine, started through mpirun.", valueName: "n"))
    var workers: Int?
    @Flag(
        help: "Show where the time goes: each operation forward and backward, the kinds of operations, and the rest.")
    var profile = false
    @Flag(help: "One JSON object instead of a table; with --profile, of all operations.")
    var json = false
    @OptionGroup var logging: LoggingOptions

    func run() throws {
        let entry = try Program.model(named: model)
        let arithmetic = try namedChoice("precision", precision, of: Precision.self)
        let compression = try namedChoice("compress", compress, of: GradientCompression.self)
        try checkThreads(threads)
        try checkNumber("loader-threads", loaderThreads, limit: RunConfiguration.largestThreadCount)
        try checkImageSize(imageSize)
        let numbers: [(String, Int?)] = [("batch-size", batchSize), ("steps", steps), ("workers", workers)]
        for (name, value) in numbers { try checkNumber(name, value, limit: 1_000_000) }
        try checkReading()
        let specification = try data.map { try DataSpecification.parse($0) }
        let log = try logging.logger()
        let launch = LaunchEnvironment()
        let facts = MachineFacts.gather()
        if let workers, workers > 1, !launch.isLaunched {
            let launcher = WorkerLauncher(
                processes: workers, command: [facts.program] + CommandLine.arguments.dropFirst(), facts: facts,
                log: log,
                remedy: "Measure again.")
            throw ExitCode(try launcher.run())
        }
        let job = try Job(launch, facts: facts, name: Program.name)
        let code = job.run {
            try job.checkWorkers(workers, training: job.queue.size, launch)
            try measure(entry, specification, arithmetic, compression, job)
            return .done
        }
        if code != ExitStatus.done.rawValue { throw ExitCode(code) }
    }

    /// Throws where an option says how to read data and none are read.
    private func checkReading() throws {
        let options = [("--augment", augment != nil), ("--loader-threads", loaderThreads != 1)]
        let given = options.filter { $0.1 }.map { $0.0 }
        guard data == nil, !given.isEmpty else { return }
        throw UsageError(
            "\(given.joined(separator: " and ")) \(given.count == 1 ? "has" : "have") no effect without --data; "
                + "leave \(given.count == 1 ? "it" : "them") out.")
    }

    private func measure(
        _ entry: ModelEntry, _ specification: DataSpecification?, _ arithmetic: Precision,
        _ compression: GradientCompression, _ job: Job
    ) throws {
        guard compression == .none || Set(job.queue.firstSharingRanks).count > 1 else {
            throw UsageError(
                "--compress has no effect: all ranks are on one host, and none rounds its gradients; "
                    + "start ranks on several hosts with mpirun, or leave it out.")
        }
        let batchSize = batchSize ?? 64 * job.queue.size
        var configuration = RunConfiguration()
        configuration.batchSize = batchSize
        configuration.precision = arithmetic
        configuration.augment = try augment.map { try Augmentation.parse($0) } ?? []
        configuration.imageSize = imageSize
        try configuration.validate(ranks: job.queue.size)
        let data = try specification?.open()
        var options = ModelOptions(classes: data?.classCount ?? entry.classes)
        options.auxiliary = !noAux
        let choice = ModelChoice(entry: entry, options: options)
        if let data, augment != nil || imageSize != nil {
            _ = try data.images(for: augment != nil ? "--augment" : "--image-size")
        }
        let feed = try data.map { try configuration.feed(of: $0, presets: choice.presets) }
        if let feed { try choice.check(feed) }
        let input = try feed?.input ?? entry.input(imageSize: imageSize)
        if noAux { try choice.checkEffects(of: [.noAux], input: input) }
        let model = TrainingModel(
            entry.name, options: [:], objective: entry.objective, module: choice.module())
        let samples = feed.map { BenchmarkData($0, loaderThreads: loaderThreads) }
        let result = try Benchmark(batchSize: batchSize, steps: steps, profiles: profile).run(
            model, input: input, classes: options.classes, queue: job.queue, threads: job.threads(threads),
            processors: job.facts.processors(localRanks: job.queue.localSize),
            precision: arithmetic, data: samples, compression: compression,
            allocationCount: Program.allocationCount)
        guard job.speaks else { return }
        Console.result(json ? object(entry, result, job).text + "\n" : text(entry, result, job))
    }

    private func object(_ entry: ModelEntry, _ result: BenchmarkResult, _ job: Job) -> JSONObject {
        var object = JSONObject()
        object.add("model", entry.name)
        object.add("precision", precision)
        object.add("compress", compress)
        object.add("ranks", result.ranks)
        object.add("threads", result.threads)
        object.add("batch_size", result.batchSize)
        object.add("steps", result.steps)
        object.add("items_per_second", result.itemsPerSecond)
        object.add("gflops", result.gflops)
        object.add("peak_gflops", result.peak.gflops)
        object.add("fraction_of_peak", result.fractionOfPeak)
        object.add("bytes_moved_per_step", result.bytesMoved)
        object.add("peak_bandwidth_gbs", result.peak.gigabytesPerSecond)
        object.add("fraction_of_bandwidth", result.fractionOfBandwidth)
        object.add("step_seconds", result.stepSeconds)
        object.add("fastest_step_seconds", result.fastestStepSeconds)
        object.add("slowest_step_seconds", result.slowestStepSeconds)
        object.add("bytes_reduced_per_step", result.bytesReducedPerStep)
        object.add("communication_exposed_seconds", result.communicationExposedSeconds)
        object.add("communication_seconds", result.communicationSeconds)
        object.add("communication_overlap", result.overlap)
        object.add("peak_memory_bytes", result.peakResidentByteCount)
        object.add("arena_bytes", result.arenaByteCount)
        object.add("arena_lower_bound_bytes", result.arenaLowerBoundByteCount)
        object.add("allocations_per_step", result.allocationsPerStep)
        object.add("data_wait_share", result.dataWaitShare)
        object.add("blas_kernels", job.facts.blasCore)
        if let profile = result.profile { object.add("profile", ProfileTable(profile).object) }
        return object
    }

    private func text(_ entry: ModelEntry, _ result: BenchmarkResult, _ job: Job) -> String {
        func milliseconds(_ seconds: Double) -> String { Formatting.decimal(seconds * 1000, 3) + " ms" }
        var rows = [
            ("model", "\(entry.name), \(precision), BLAS kernels \(job.facts.blasCore)"),
            (
                "ranks",
                "\(Formatting.count(result.ranks, "rank")), \(Formatting.count(result.threads, "thread")) each, "
                    + "batch size \(result.batchSize) over all ranks"
            ),
            (
                "throughput",
                "\(Formatting.rate(result.itemsPerSecond)) samples/s, \(Formatting.decimal(result.gflops, 1)) GFLOP/s, "
                    + "\(Formatting.decimal(100 * result.fractionOfPeak, 0)) % of the "
                    + "\(Formatting.decimal(result.peak.gflops, 0)) GFLOP/s that a product in \(precision) reaches here"
            ),
            (
                "step",
                "\(milliseconds(result.stepSeconds)) (median of \(result.steps); \(milliseconds(result.fastestStepSeconds)) "
                    + "to \(milliseconds(result.slowestStepSeconds)))"
            ),
            (
                "bandwidth",
                "\(Formatting.decimal(result.gigabytesPerSecond, 1)) GB/s that perfect kernels would move (optimizer and exchange "
                    + "left out), \(Formatting.decimal(100 * result.fractionOfBandwidth, 0)) % of the "
                    + "\(Formatting.decimal(result.peak.gigabytesPerSecond, 1)) GB/s that a copy reaches here"
            ),
            (
                "memory",
                "\(Formatting.bytes(result.peakResidentByteCount)) at the peak, "
                    + "\(Formatting.bytes(result.arenaByteCount)) of it the arena of all values, of which at most "
                    + "\(Formatting.bytes(result.arenaLowerBoundByteCount)) are needed at one moment"
            ),
            (
                "allocations",
                result.allocationsPerStep.map {
                    "\($0) a step" + (OneDNN.version == nil ? "" : ", not counting those inside oneDNN")
                } ?? "not counted"
            ),
        ]
        if let overlap = result.overlap {
            rows.append(
                (
                    "exchange",
                    "\(Formatting.bytes(result.bytesReducedPerStep)) reduced a step\(compress == "none" ? "" : " as \(compress)"), "
                        + "\(milliseconds(result.communicationExposedSeconds)) exposed; of what backward can hide, "
                        + "\(Formatting.percent(overlap)) was hidden"
                        + (result.lacksSharedMemory ? "; by messages, as ranks of one host share no memory" : "")
                ))
        }
        if let share = result.dataWaitShare {
            rows.append(
                (
                    "data",
                    "\(Formatting.percent(share)) of the time waiting for samples "
                        + "(\(Formatting.count(loaderThreads, "loader thread")) a rank)"
                ))
        }
        let table = rows.map { $0.0.padding(to: 13) + $0.1 + "\n" }.joined()
        return table + (result.profile.map { "\n" + ProfileTable($0).text } ?? "")
    }
}
