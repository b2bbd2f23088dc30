import ArgumentParser
import DTrainData
import DTrainReport
import DTrainTensor
import Foundation

struct PredictCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "predict",
            abstract: "Say what is in images, or what a text is.",
            discussion: """
                  \(Program.name) predict --checkpoint runs/RUN --images a.jpg b.png photos/
                  \(Program.name) predict --model resnet50 --init pretrained --images a.jpg --labels imagenet.txt
                  \(Program.name) predict --checkpoint runs/RUN --text Satoshi --top 3
                """)
    }

    @OptionGroup var model: ModelSourceOptions
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("JPEG and PNG files, and folders of them.", valueName: "path"))
    var images: [String] = []
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Instead of images: texts, for a model that reads characters. One that begins with a hyphen: --text=-ABC.",
            valueName: "text"))
    var text: [String] = []
    @Option(parsing: .unconditional, help: ArgumentHelp("Most probable classes to name. Default 5.", valueName: "k"))
    var top: Int?
    @Option(help: ArgumentHelp("Class names, one a line, in the order of the model's outputs.", valueName: "file"))
    var labels: String?
    @Flag(help: "One JSON object an image, or a text.")
    var json = false
    @Flag(help: "Print the model's outputs before the softmax as well.")
    var logits = false
    @Option(help: ArgumentHelp("Draw the images with their predictions into this PNG file.", valueName: "file"))
    var output: String?
    @Flag(help: "Leave out images that cannot be read, and name them, instead of ending.")
    var skipBroken = false
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Compute threads. Default: the cores granted.", valueName: "n"))
    var threads: Int?

    /// Classes to name.
    var namedCount: Int { top ?? 5 }

    /// Images in the picture, at most.
    private static var largestGrid: Int { 120 }

    func run() throws {
        guard images.isEmpty != text.isEmpty else {
            throw UsageError(
                images.isEmpty
                    ? "no images are given: give --images with files or folders, or --text."
                    : "give either --images or --text, not both.")
        }
        if let top, top < 1 { throw UsageError("--top '\(top)' is not valid: give at least 1.") }
        try checkThreads(threads)
        guard LaunchEnvironment().speaks else { return }
        let source = try model.source(Program.self)
        guard text.isEmpty else { return try predictTexts(source) }
        if source.sequences != nil {
            throw UsageError("\(source.path) (\(source.choice.entry.name)) reads text, no images: give --text.")
        }
        let files = try ImageList.files(images)
        let predictor = try Predictor(source, threads: threads ?? MachineFacts.gather().threads(localRanks: 1))
        let names = try classNames(source, outputs: predictor.outputCount)

        var cells: [CaptionedGrid.Cell] = []
        let predictions = try predictor.predict(
            files,
            skip: skipBroken ? { Console.diagnostic("\(Program.name): left out: \($0)\n") } : nil,
            show: { if output != nil, cells.count < Self.largestGrid { cells.append(CaptionedGrid.Cell($0)) } })
        for prediction in predictions {
            Console.result(
                json
                    ? object(prediction, names).text + "\n"
                    : prediction.lines(top: namedCount, names: names, logits: logits))
        }
        guard let output else { return }
        guard !cells.isEmpty else { throw UsageError("--output draws nothing: no image could be read.") }
        for (index, prediction) in predictions.prefix(cells.count).enumerated() {
            cells[index].lines =
                [FilePath.name(of: prediction.path)]
                + prediction.top(min(namedCount, 3)).map { "\(names($0.index)) \(Formatting.percent($0.probability))" }
        }
        try CaptionedGrid(cells).image().write(to: output)
        if !json {
            Console.result(
                "drawn: \(output)\(files.count > cells.count ? " (the first \(cells.count) images)" : "")\n")
        }
    }

    /// The name of each output: from `--labels`, the checkpoint, or its number.
    private func classNames(_ source: ModelSource, outputs: Int) throws -> (Int) -> String {
        var names = source.images?.classNames ?? []
        if let labels {
            guard let text = try? String(contentsOfFile: labels, encoding: .utf8) else {
                throw UsageError("--labels \(labels): it cannot be read as UTF-8 text.")
            }
            names = text.split(separator: "\n", omittingEmptySubsequences: true).map {
                String($0.last == "\r" ? $0.dropLast() : $0)
            }
            guard names.count == outputs else {
                throw UsageError("\(labels) has \(names.count) names, and the model \(outputs) outputs.")
            }
        }
        return { $0 < names.count ? names[$0] : "class \($0)" }
    }

    private func object(_ prediction: Prediction, _ names: (Int) -> String) -> JSONObject {
        var object = JSONObject()
        object.add("path", prediction.path)
        prediction.add(to: &object, top: namedCount, names: names, logits: logits)
        return object
    }
}

extension String {
    /// With spaces before it, so that it is `width` characters long at least.
    func padding(toLeft width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}
