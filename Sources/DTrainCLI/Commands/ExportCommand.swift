import ArgumentParser
import DTrainCheckpoint
import DTrainONNX
import DTrainReport
import DTrainTensor
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

    @Argument(help: "A run directory (its best checkpoint, or the newest) or a checkpoint; or give --model and --init.")
    var source: String?
    @OptionGroup var model: ModelSourceOptions
    @Option(help: ArgumentHelp("safetensors or onnx.", valueName: "name"))
    var format = "safetensors"
    @Option(help: ArgumentHelp("The file to write. Default MODEL.safetensors or MODEL.onnx here.", valueName: "file"))
    var output: String?

    func run() throws {
        guard LaunchEnvironment().speaks else { return }
        let format = try namedChoice("format", format, of: ExportFormat.self)
        let source = try model.source(Program.self, positional: source)
        let target = output ?? "\(source.choice.entry.name).\(format.rawValue)"
        var tensors = try tensors(source)
        switch format {
        case .safetensors: try SafetensorsFile.write(tensors, to: target)
        case .onnx:
            let model = try onnx(source, tensors)
            try model.bytes().withUnsafeBytes { try DurableFile.write($0, to: target) }
            tensors = tensors.filter { model.parameterNames.contains($0.name) }
        }
        let byteCount = tensors.reduce(0) { $0 + $1.byteCount }
        Console.result("\(target): \(tensors.count) tensors of \(source.path), \(Formatting.bytes(byteCount))\n")
    }

    /// All that a checkpoint holds; of other weights, or without the head, what the model has.
    private func tensors(_ source: ModelSource) throws -> [NamedTensor] {
        if case .checkpoint(let checkpoint, let choice) = source.origin, !model.noTop {
            return try checkpoint.modelTensors(choice)
        }
        let images = try source.requiredImages()
        let replica = try source.replica(
            input: .values(Shape(images.inputShape)), capacity: 1, pool: ThreadPool(threadCount: 1))
        return NamedArena(replica.layout, replica.parameters).tensors()
    }

    /// The network as it evaluates images of the size that it was trained on.
    private func onnx(_ source: ModelSource, _ tensors: [NamedTensor]) throws -> ONNXModel {
        let images = try source.requiredImages()
        let input = source.imageSize.map { [$0, $0, images.inputShape[2]] } ?? images.inputShape
        return try ONNXModel(
            source.choice.module(), input: Shape(input), tensors: tensors,
            ONNXModel.Description(
                name: source.choice.entry.name, producerVersion: productVersion,
                classNames: images.classNames.count == source.choice.options.classes ? images.classNames : [],
                mean: images.mean, standardDeviation: images.standardDeviation))
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
