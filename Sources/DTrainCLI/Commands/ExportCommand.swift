import ArgumentParser
import DTrainCheckpoint
import DTrainData
import DTrainEngine
import DTrainModels
import DTrainONNX
import DTrainReport
import DTrainTensor
import DTrainTrainer
import Foundation

/// The files that `export` writes; the name's extension is the format's.
enum ExportFormat: String, CaseIterable {
    case safetensors, onnx
}

struct ExportCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "export",
            abstract: "Write a checkpoint's weights to a file for other programs.",
            discussion: """
                safetensors: the tensors have PyTorch's names, shapes and order: \
                model.load_state_dict(safetensors.torch.load_file(FILE)).
                onnx: the network too, as it evaluates, for onnxruntime and others: 'input' is normalised fp32, batch × \
                channels × height × width, 'output' batch × classes.
                """)
    }

    @Argument(help: "A run directory (its best checkpoint, or the newest) or a checkpoint.")
    var source: String
    @Option(help: ArgumentHelp("safetensors or onnx.", valueName: "name"))
    var format = "safetensors"
    @Option(help: ArgumentHelp("The file to write. Default MODEL.safetensors or MODEL.onnx here.", valueName: "file"))
    var output: String?
    @OptionGroup var weights: WeightsOption

    func run() throws {
        guard LaunchEnvironment().speaks else { return }
        guard let format = ExportFormat(rawValue: format) else {
            let names = ExportFormat.allCases.map(\.rawValue)
            throw UsageError(
                "--format '\(self.format)' is not valid\(suggestion(for: self.format, among: names)): give "
                    + "\(names.joined(separator: ", ")).")
        }
        let choice = try weights.choice()
        let checkpoint = try CheckpointLocation.open(source)
        let target = output ?? "\(checkpoint.state.model.name).\(format.rawValue)"
        var tensors = try checkpoint.modelTensors(choice)
        switch format {
        case .safetensors: try SafetensorsFile.write(tensors, to: target)
        case .onnx:
            let model = try onnx(checkpoint, tensors)
            try model.bytes().withUnsafeBytes { try DurableFile.write($0, to: target) }
            tensors = tensors.filter { model.parameterNames.contains($0.name) }
        }
        let byteCount = tensors.reduce(0) { $0 + $1.byteCount }
        Console.result("\(target): \(tensors.count) tensors of \(checkpoint.path), \(Formatting.bytes(byteCount))\n")
    }

    /// The checkpoint's model, built as for an evaluation on the run's data.
    private func onnx(_ checkpoint: Checkpoint, _ tensors: [NamedTensor]) throws -> ONNXModel {
        let state = checkpoint.state
        let pair = try DataSpecification.parse(state.data.specification).open()
        let entry = try Program.model(named: state.model.name)
        let transforms = try TransformPipeline(
            checkpoint.savedAugmentations(), family: .usual(forImagesOf: entry.input), sampleShape: pair.sampleShape,
            sizesMayDiffer: pair.train.sizesMayDiffer || pair.test.sizesMayDiffer,
            normalisation: pair.train.normalisation, seed: state.seed)
        let classes = state.model.options["classes"].flatMap(Int.init) ?? pair.classCount
        return try ONNXModel(
            entry.make(ModelOptions(classes: classes)), input: transforms.outputShape, tensors: tensors,
            ONNXModel.Description(
                name: entry.name, producerVersion: productVersion,
                classNames: classes == pair.classCount ? pair.classNames : [],
                mean: pair.train.normalisation.mean,
                standardDeviation: pair.train.normalisation.standardDeviation))
    }
}

/// What a path on the command line means by a checkpoint.
enum CheckpointLocation {
    /// Opens a checkpoint directory; of a run directory, the best checkpoint or, without one, the newest valid.
    static func open(_ given: String) throws -> Checkpoint {
        let path = given.withoutTrailingSlashes
        let store = CheckpointStore(path + "/checkpoints")
        guard FileManager.default.fileExists(atPath: path) else {
            throw CheckpointError.notACheckpoint(path: path, reason: "there is nothing of this name")
        }
        guard FileManager.default.fileExists(atPath: store.directory) else { return try Checkpoint(path) }
        if let best = store.bestStep() { return try Checkpoint(store.path(step: best)) }
        let (checkpoint, skipped) = try store.newestValid()
        guard let checkpoint else {
            throw CheckpointError.noValidCheckpoint(directory: store.directory, skipped: skipped)
        }
        return checkpoint
    }
}

extension Checkpoint {
    /// The run's augmentation, from the config.yaml beside the checkpoints; none where there is no such file.
    func savedAugmentations() throws -> [Augmentation] {
        let run = URL(fileURLWithPath: path).deletingLastPathComponent().deletingLastPathComponent()
        let file = run.appendingPathComponent("config.yaml").path
        guard FileManager.default.fileExists(atPath: file) else { return [] }
        return try RunConfiguration(layers: [ConfigurationFile.read(file)]).augment
    }
}
