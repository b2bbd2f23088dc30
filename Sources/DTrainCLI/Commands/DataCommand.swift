import ArgumentParser
import DTrainData
import DTrainReport
import DTrainTensor

struct DataCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "data", abstract: "Look at data sets, pack them and download them.",
            subcommands: [
                DataShowCommand<Program>.self, DataPackCommand<Program>.self, DataFetchCommand<Program>.self,
            ])
    }
}

struct DataShowCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "show",
            abstract: "Describe a data set, and draw a labelled grid of its samples as a PNG.",
            discussion: "Data sets: \(DataSpecification.forms.joined(separator: ", ")).")
    }

    @Argument(help: "The data set, as --data of 'train' takes it.")
    var spec: String
    @Option(help: ArgumentHelp("The PNG file to draw.", valueName: "file"))
    var output: String?
    @Option(help: ArgumentHelp("train or test.", valueName: "name"))
    var split = "train"
    @Option(help: ArgumentHelp("Show the samples as these leave them in evaluation.", valueName: "list"))
    var augment = "none"
    @Flag(help: "Show them as training sees them in its first epoch.")
    var augmented = false
    @Option(parsing: .unconditional, help: ArgumentHelp("Seed of the transforms.", valueName: "n"))
    var seed = 0

    func run() throws {
        guard LaunchEnvironment().speaks else { return }
        let part = try namedChoice("split", split, of: DatasetSplit.self)
        try checkSeed(seed)
        let augmentations = try Augmentation.parse(augment)
        let lines: [String]
        switch try DataSpecification.parse(spec).open() {
        case .images(let pair): lines = try describe(pair, part, augmentations)
        case .sequences(let pair):
            for (option, isGiven) in [
                ("output", output != nil), ("augment", augment != "none"), ("augmented", augmented),
            ]
            where isGiven {
                throw DataUsageError.needsImages(what: "--\(option)", specification: "\(pair.specification)")
            }
            lines = SequenceReport(pair).lines(part)
        }
        Console.result(lines.map { $0 + "\n" }.joined())
    }

    /// What images there are; draws some where that is asked for.
    private func describe(
        _ pair: DatasetPair, _ part: DatasetSplit, _ augmentations: [Augmentation]
    ) throws -> [String] {
        let sizes =
            pair.train.sizesMayDiffer ? "of various sizes, the first \(pair.sampleShape)" : "of \(pair.sampleShape)"
        var lines = [
            "\(pair.specification): \(pair.train.name), samples \(sizes), "
                + "\(pair.classCount) classes"
        ]
        for split in DatasetSplit.allCases {
            let counts = zip(pair.classNames, try pair[split].countPerClass())
                .map { "\($0): \(Formatting.whole($1))" }
            let shown = counts.count <= 20 ? counts : counts.prefix(20) + ["…"]
            lines.append(
                "\(split.rawValue): \(Formatting.whole(pair[split].count)) samples (\(shown.joined(separator: ", ")))")
        }
        if let output {
            // Nothing named, nothing done: images of several sizes are shown whole.
            let pipeline =
                try augmentations.isEmpty
                ? nil
                : TransformPipeline(
                    augmentations, family: .usual(forImagesOf: pair.sampleShape), sampleShape: pair.sampleShape,
                    sizesMayDiffer: pair.train.sizesMayDiffer || pair.test.sizesMayDiffer,
                    normalisation: pair.train.normalisation, seed: UInt64(seed))
            let transforms = augmented ? pipeline?.training : pipeline?.evaluation
            let image = try SampleGrid(pair[part], transforms: transforms ?? [], seed: UInt64(seed)).image()
            try image.write(to: output)
            lines.append("drawn: \(output) (\(image.width)×\(image.height))")
        }
        return lines
    }
}
