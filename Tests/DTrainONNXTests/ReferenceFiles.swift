import DTrainCheckpoint
import DTrainEngine
import DTrainModels
import DTrainONNX
import DTrainTensor
import Foundation
import Testing

/// Writes what scripts/check-onnx.py compares with onnxruntime: NAME.onnx, and NAME.safetensors with the samples and what
/// dtrain returns for them. Not a test: it runs only where that script asks for it.
@Suite(.enabled(if: directory != nil))
struct ReferenceFiles {
    /// `DTRAIN_ONNX_MODELS` names models of the zoo, separated by commas; without it, the small networks are written, and
    /// the names of all models.
    @Test func write() throws {
        if let names = ProcessInfo.processInfo.environment["DTRAIN_ONNX_MODELS"] {
            for name in names.split(separator: ",") {
                let entry = try #require(ModelEntry.all.first { $0.name == name })
                var options = ModelOptions(classes: entry.classes)
                options.transformsInput = true
                try write(entry.make(options), input: entry.input.shape, name: entry.name)
            }
        } else {
            for network in Network.all() { try write(network, input: network.input, name: network.name) }
            try Data(ModelEntry.all.filter { !$0.input.isSequence }.map(\.name).joined(separator: "\n").utf8).write(to: file("models.txt"))
        }
    }

    private func write(_ model: any Module, input: Shape, name: String) throws {
        let replica = try FilledReplica(model, input: input, threads: 2)
        let onnx = try ONNXModel(
            model, input: input, tensors: replica.tensors, .init(name: name, producerVersion: "test"))
        try onnx.bytes().write(to: file(name + ".onnx"))
        let (input, output) = replica.run()
        try SafetensorsFile.write([input, output], to: file(name + ".safetensors").path)
    }

    private func file(_ name: String) -> URL { URL(fileURLWithPath: directory! + "/" + name) }
}

private let directory = ProcessInfo.processInfo.environment["DTRAIN_ONNX_DIRECTORY"]
