import ArgumentParser
import DTrainCheckpoint
import DTrainReport
import DTrainTensor
import Foundation

struct ExportCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "export",
            abstract: "Write a checkpoint's weights to a file for other programs.",
            discussion: "The tensors have PyTorch's names, shapes and order: "
                + "model.load_state_dict(safetensors.torch.load_file(FILE)).")
    }

    static var formats: [String] { ["safetensors"] }

    @Argument(help: "A run directory (its best checkpoint, or the newest) or a checkpoint.")
    var source: String
    @Option(help: ArgumentHelp("safetensors.", valueName: "name"))
    var format = "safetensors"
    @Option(help: ArgumentHelp("The file to write. Default MODEL.safetensors here.", valueName: "file"))
    var output: String?
    @OptionGroup var weights: WeightsOption

    func run() throws {
        guard LaunchEnvironment().speaks else { return }
        guard Self.formats.contains(format) else {
            throw UsageError(
                "--format '\(format)' is not valid\(suggestion(for: format, among: Self.formats)): give "
                    + "\(Self.formats.joined(separator: ", ")).")
        }
        let choice = try weights.choice()
        let checkpoint = try CheckpointLocation.open(source)
        let target = output ?? checkpoint.state.model.name + ".safetensors"
        let tensors = try checkpoint.modelTensors(choice)
        try SafetensorsFile.write(tensors, to: target)
        let byteCount = tensors.reduce(0) { $0 + $1.byteCount }
        Console.result("\(target): \(tensors.count) tensors of \(checkpoint.path), \(Formatting.bytes(byteCount))\n")
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
