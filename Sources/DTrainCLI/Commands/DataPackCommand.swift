import ArgumentParser
import DTrainData
import DTrainReport
import DTrainTensor

struct DataPackCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "pack",
            abstract: "Decode a data set into one memory-mapped file that trains like it, without decoding.",
            discussion:
                "Then give --data packed:FILE. Samples keep their order and labels, so a packed folder trains as "
                + "the folder does. Without --image-size the pixels are the same too, and so is the digest that ranks "
                + "and checkpoints compare.")
    }

    @Argument(help: "The data set, as --data of 'train' takes it.")
    var spec: String
    @Option(help: ArgumentHelp("The file to write.", valueName: "file"))
    var output: String
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Bring the shorter side of larger images to this many pixels, in proportion. Default: no change.",
            valueName: "n"))
    var imageSize: Int?
    @Flag(help: "Leave out files that cannot be decoded, as training does, and name them.")
    var skipBroken = false
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Threads that decode. Default: as many as the cores granted.", valueName: "n"))
    var threads: Int?

    func run() throws {
        guard LaunchEnvironment().speaks else { return }
        guard (1...65_536).contains(imageSize ?? 1) else {
            throw UsageError("--image-size '\(imageSize!)' is not valid: give a whole number from 1 to 65536.")
        }
        try checkThreads(threads)
        let pair = try DataSpecification.parse(spec).open().images(for: "data pack")
        let broken = skipBroken ? BrokenSamples { Console.diagnostic("left out: \($0.error)\n") } : nil
        let writer = PackedWriter(
            imageSize: imageSize, brokenSamples: broken,
            threadCount: threads ?? MachineFacts.gather().threads(localRanks: 1))
        let start = monotonicSeconds()
        let byteCount = try writer.write(pair, to: output)
        let packed = try DataSpecification.packed(file: output).openImages()
        let counts = DatasetSplit.allCases.map { "\(Formatting.whole(packed[$0].count)) \($0.rawValue)" }
        Console.result(
            "\(output): \(counts.joined(separator: " and ")) samples of \(pair.specification), "
                + "\(Formatting.bytes(byteCount)), in \(Formatting.decimal(monotonicSeconds() - start, 1)) s\n"
                + "train with --data packed:\(output)\n")
    }
}
