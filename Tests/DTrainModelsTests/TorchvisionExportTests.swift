import DTrainCheckpoint
import DTrainEngine
import DTrainModels
import DTrainTensor
import Foundation
import Testing

private let exportDirectory = ProcessInfo.processInfo.environment["DTRAIN_TORCHVISION"]

/// torchvision's own models as `scripts/torchvision-parity.sh` exports them, at 224×224: logits, loss, gradients, and weights
/// for the way back. `Fixtures/export_torchvision.py` describes the files. Runs where DTRAIN_TORCHVISION names their directory.
@Suite(.serialized, .enabled(if: exportDirectory != nil)) struct TorchvisionExportTests {
    static var models: [String] {
        guard let exportDirectory, let names = try? FileManager.default.contentsOfDirectory(atPath: exportDirectory)
        else {
            return []
        }
        return TorchvisionTests.models.filter { names.contains($0) }
    }

    @Test(arguments: models)
    func matchesTorchvision(_ name: String) throws {
        let path = try #require(exportDirectory) + "/\(name)/"
        let samples = try SafetensorsFile(path + "samples.safetensors")
        let images = try samples.tensor("images")
        let labels = try samples.tensor("labels").array(of: Int32.self)
        let entry = try #require(ModelEntry.all.first { $0.name == name })
        let run = try ModelRun(
            entry.make(ModelOptions(classes: 1000, dropout: 0)), inputs: images, labels: labels)
        let arena = NamedArena(run.replica.layout, run.replica.parameters)
        try NamedArena.fill([arena], from: SafetensorsFile(path + "weights.safetensors").tensors())

        let expected = try samples.tensor("logits").array(of: Float.self)
        let logits = run.evaluate()
        let logitError =
            zip(logits, expected).reduce(0) { max($0, abs($1.0 - $1.1)) } / spread(expected, images: labels.count)
        try SafetensorsFile.write(arena.tensors(), to: path + "model.safetensors")
        try SafetensorsFile.write(
            [NamedTensor(name: "logits", shape: [labels.count, 1000], floats: logits)],
            to: path + "dtrain_logits.safetensors")

        let expectedLoss = try samples.tensor("loss").array(of: Float.self)[0]
        let lossError = abs(run.computeGradients() / expectedLoss - 1)
        let exact = try SafetensorsFile(path + "gradients.safetensors")
        var (difference, norm) = (0.0, 0.0)
        for segment in run.trainable {
            let reference = try exact.tensor(segment.name).array(of: Float.self)
            for (value, target) in zip(run.gradient(segment), reference) {
                difference += Double(value - target) * Double(value - target)
                norm += Double(target) * Double(target)
            }
        }
        #expect(run.trainable.count == exact.names.count)
        let gradientError = (difference / norm).squareRoot()
        let torchError = Double(try samples.tensor("float32_error").array(of: Float.self)[0])
        print(
            "parity", name, Self.text(Double(logitError)), Self.text(Double(lossError)), Self.text(gradientError),
            Self.text(torchError))
        #expect(logitError <= 1e-4 && lossError <= 1e-4)
        #expect(gradientError <= 2 * torchError)
    }

    private static func text(_ value: Double) -> String { String(format: "%.2e", value) }
}
