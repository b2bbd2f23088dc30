import DTrainEngine
import DTrainLayers
import DTrainONNX
import DTrainTensor
import Testing

/// What cannot be written is named.
@Suite struct ErrorTests {
    private let description = ONNXModel.Description(name: "", producerVersion: "")

    /// An operation that the exporter has never heard of.
    private struct Mystery: Operation {
        var name: String { "mystery" }
        func outputShape(_ inputs: [Shape]) throws -> Shape { inputs[0] }
        func kernel(_ site: Site) -> any Kernel { fatalError("never compiled") }
    }

    private final class MysteryLayer: Module {
        func callAsFunction(_ x: Value) -> Value { x.applying(Mystery(), layer: self) }
    }

    private func message(_ model: any Module, _ input: Shape, _ tensors: [NamedTensor] = []) throws -> String {
        let error = #expect(throws: ONNXError.self) {
            try ONNXModel(model, input: input, tensors: tensors, description)
        }
        return try #require(error).description
    }

    @Test func unknownOperationsAreNamedWithTheirLayer() throws {
        #expect(
            try message(Network("", [3], [Identity(), MysteryLayer()]), [3])
                == "cannot write layers.1 (mystery) as ONNX: the exporter does not know this operation")
        #expect(
            try message(Network("", [3], [Identity()]) { _, x in x.applying(Mystery()) }, [3])
                == "cannot write mystery as ONNX: the exporter does not know this operation")
    }

    @Test func knownOperationsWithAnUnknownMeaningAreErrors() throws {
        let input: Shape = [2, 3, 4]
        #expect(
            try message(Network("", input, [Identity()]) { _, x in x.applying(Reshape(to: [6, 4])) }, input)
                == "cannot write reshape as ONNX: the exporter knows it for flattening alone, not from 2×3×4 to 6×4")
        #expect(
            try message(
                Network("", input, [Identity()]) { _, x in x.applying(Transpose(rows: 6, columns: 4, to: [4, 6])) },
                input)
                == "cannot write transpose as ONNX: the exporter knows it between images and features alone, "
                + "not 6×4 from 2×3×4 to 4×6")
        #expect(
            try message(Network("", [2, 2, 2, 2], [Identity()]) { _, x in relu(x) }, [2, 2, 2, 2])
                == "cannot write relu as ONNX: samples of shape 2×2×2×2 have no place in an image network")
        #expect(
            try message(
                Network("", [5, 2], [Identity()]) { _, x in
                    x.applying(Pooling(.maximum, WindowGeometry(kernel: Pair(3, 1), padding: Pair(1, 0))))
                }, [5, 2]) == "cannot write maxPool as ONNX: a window of 3×1 slides over a sequence")
    }

    @Test func weightsThatDoNotFitAreListed() throws {
        let network = Network("", [3], [Linear(2), BatchNorm1d()])
        let tensors = try FilledReplica(network, input: [3]).tensors
        var changed = tensors.filter { $0.name != "layers.1.running_var" }
        changed[changed.firstIndex { $0.name == "layers.0.weight" }!] =
            NamedTensor(name: "layers.0.weight", shape: [3, 2], floats: [1, 2, 3, 4, 5, 6])
        // One that no layer reads may stay.
        changed.append(NamedTensor(name: "aux.weight", shape: [1], floats: [1]))
        #expect(
            try message(network, [3], changed)
                == "cannot write the model as ONNX, its weights do not fit: missing: layers.1.running_var; "
                + "misshapen: layers.0.weight is 3×2 F32, needs 2×3 F32")
        _ = try ONNXModel(network, input: [3], tensors: tensors, description)
    }

    @Test func aModelThatDoesNotTraceIsAnError() {
        #expect(throws: GraphError.self) {
            try ONNXModel(Network("", [3], [Conv2d(2, kernel: 1)]), input: [3], tensors: [], description)
        }
    }

    @Test func tooManyBytesAreRefused() throws {
        let network = Network("", [3], [Linear(2)])
        let model = try ONNXModel(
            network, input: [3], tensors: FilledReplica(network, input: [3]).tensors, description)
        #expect(throws: ONNXError.tooLarge(byteCount: 32, limit: 31)) { try model.bytes(limit: 31) }
        let bytes = try model.bytes(limit: 32)
        #expect(bytes.count > 32)
        #expect(ONNXModel.byteLimit == 2_147_483_646)
    }
}
