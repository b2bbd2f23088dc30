import DTrainEngine
import DTrainLayers
import DTrainONNX
import DTrainTensor
import Foundation
import SwiftProtobuf
import Testing

/// Files are written, read back, and compared with what they should say.
@Suite struct TranslationTests {
    /// What a reader finds in the file of a network with random weights.
    private func written(_ model: any Module, _ input: Shape) throws -> Onnx_ModelProto {
        let tensors = try FilledReplica(model, input: input).tensors
        let model = try ONNXModel(model, input: input, tensors: tensors, .init(name: "net", producerVersion: "7.8"))
        return try Onnx_ModelProto(serializedBytes: model.bytes())
    }

    private func lines(_ name: String) throws -> [String] {
        let network = try #require(Network.all().first { $0.name == name })
        return try written(network, network.input).graph.lines
    }

    @Test func everyOperationHasANetwork() throws {
        var shown = Set<String>()
        for network in Network.all() {
            let graph = try Graph.trace(network, input: network.input, mode: .evaluation, objective: nil)
            for node in graph.nodes { shown.insert("\(type(of: node.operation))") }
        }
        let inTrainingAlone = Set(["DropoutOperation", "CrossEntropy", "OneHot", "SquaredError", "LossTotal"])
        // Models of sequences are refused.
        let ofSequences = Set(["Recurrent", "Embedding", "StepSelection", "StepStack"])
        #expect(try shown.union(inTrainingAlone).union(ofSequences) == operationsOfTheEngine())
    }

    /// The types that the engine's source declares as operations.
    private func operationsOfTheEngine() throws -> Set<String> {
        let engine = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../Sources/DTrainEngine")
        let files = try #require(FileManager.default.enumerator(at: engine, includingPropertiesForKeys: nil))
        var names = Set<String>()
        for case let file as URL in files where file.pathExtension == "swift" {
            let source = try String(contentsOf: file, encoding: .utf8)
            for match in source.matches(of: /(?:struct|class|enum) (\w+): (?:\w+, )*Operation\b/) {
                names.insert(String(match.1))
            }
        }
        return names
    }

    /// What every reader relies on: names are defined once and before they are used, sizes agree, nothing is superfluous.
    @Test func everyFileIsWellFormed() throws {
        for network in Network.all() {
            let model = try written(network, network.input)
            let graph = model.graph
            var known = Set<String>()
            for tensor in graph.initializer {
                #expect(known.insert(tensor.name).inserted, "\(network.name): \(tensor.name) twice")
                let size = tensor.dataType == Onnx_TensorProto.DataType.int64.rawValue ? 8 : 4
                #expect(
                    tensor.rawData.count == tensor.dims.reduce(1, *) * Int64(size), "\(network.name): \(tensor.name)")
            }
            let constants = known
            known.insert("input")
            for node in graph.node {
                for input in node.input {
                    #expect(known.contains(input), "\(network.name): \(node.name) reads \(input)")
                }
                #expect(
                    node.output.count == 1 && known.insert(node.output[0]).inserted, "\(network.name): \(node.name)")
            }
            #expect(constants.isSubset(of: graph.node.flatMap(\.input)), "\(network.name): constants that nobody reads")
            #expect(graph.node.last?.output == ["output"], "\(network.name)")
        }
    }

    @Test func aResidualNetworkReadsLikeItsPaper() throws {
        let network = Network(
            "residual", [6, 8, 2],
            [
                Conv2d(4, kernel: Pair(3, 1), stride: Pair(2, 1), padding: Pair(1, 0), groups: 2, bias: false),
                BatchNorm2d(epsilon: 0.25), Conv2d(4, kernel: 1), Linear(3),
            ]
        ) { layers, x in
            let y = relu(layers[1](layers[0](x)))
            return layers[3](flatten(maxPool(relu(layers[2](y) + y), kernel: 2)))
        }
        let model = try written(network, network.input)
        #expect(
            model.graph.lines == [
                "layers.0 = Conv(input, layers.0.weight) kernel_shape=[3, 1] strides=[2, 1] pads=[1, 0, 1, 0] "
                    + "dilations=[1, 1] group=2",
                "layers.1 = BatchNormalization(layers.0, layers.1.weight, layers.1.bias, layers.1.running_mean, "
                    + "layers.1.running_var) epsilon=0.25",
                "relu = Relu(layers.1)",
                "layers.2 = Conv(relu, layers.2.weight, layers.2.bias) kernel_shape=[1, 1] strides=[1, 1] "
                    + "pads=[0, 0, 0, 0] dilations=[1, 1] group=1",
                "add = Add(layers.2, relu)",
                "relu_2 = Relu(add)",
                "maxPool = MaxPool(relu_2) kernel_shape=[2, 2] strides=[2, 2] pads=[0, 0, 0, 0]",
                "reshape = Flatten(maxPool) axis=1",
                "output = Gemm(reshape, layers.3.weight, layers.3.bias) transB=1",
            ])
        #expect(model.producerName == "dtrain" && model.producerVersion == "7.8" && model.graph.name == "net")
        #expect(model.irVersion == 8 && model.opsetImport.map(\.version) == [17] && model.opsetImport[0].domain.isEmpty)
        #expect(extents(model.graph.input) == ["input: batch 2 6 8"])
        #expect(extents(model.graph.output) == ["output: batch 3"])
    }

    private func extents(_ values: [Onnx_ValueInfoProto]) -> [String] {
        values.map { value in
            let extents = value.type.tensorType.shape.dim.map { $0.dimParam.isEmpty ? "\($0.dimValue)" : $0.dimParam }
            return "\(value.name): " + extents.joined(separator: " ")
        }
    }

    @Test func weightsAreThoseOfThePyTorchFile() throws {
        let network = Network("net", [3, 2, 2], [Conv2d(3, kernel: 2), BatchNorm2d(), Linear(4)]) {
            $0[2](flatten($0[1]($0[0]($1))))
        }
        let tensors = try FilledReplica(network, input: network.input).tensors
        let model = try ONNXModel(
            network, input: network.input, tensors: tensors, .init(name: "", producerVersion: ""))
        let initializers = try Onnx_ModelProto(serializedBytes: model.bytes()).graph.initializer
        // The counter of batches is of no use in evaluation.
        let expected = tensors.filter { $0.dtype == .float32 }
        #expect(initializers.map(\.name) == expected.map(\.name))
        #expect(initializers.map(\.dims) == expected.map { $0.shape.dimensions.map(Int64.init) })
        #expect(initializers.map { $0.values(of: Float.self) } == expected.map { $0.array(of: Float.self) })
    }

    @Test func windowsAreSpelledOut() throws {
        #expect(
            try lines("max-pool-ceil").suffix(2) == [
                "maxPool = MaxPool(stem) kernel_shape=[3, 3] strides=[2, 2] pads=[0, 0, 1, 1]",
                "output = Flatten(maxPool) axis=1",
            ])
        #expect(
            try lines("max-pool-ceil-dropped")[1]
                == "maxPool = MaxPool(stem) kernel_shape=[2, 2] strides=[3, 3] pads=[1, 1, 1, 1]")
        #expect(
            try lines("average-pool-ceil-padded")[1...2] == [
                "averagePool/pad = Pad(stem, [0, 0, 1, 1, 0, 0, 1, 1])",
                "averagePool = AveragePool(averagePool/pad) kernel_shape=[3, 3] strides=[2, 2] pads=[0, 0, 1, 0] "
                    + "count_include_pad=0",
            ])
        #expect(
            try lines("adaptive-maximum-uneven")[1...3] == [
                "adaptiveMaxPool/row0/slice = Slice(stem, [0], [2], [2])",
                "adaptiveMaxPool/row0 = ReduceMax(adaptiveMaxPool/row0/slice) axes=[2] keepdims=1",
                "adaptiveMaxPool/row1/slice = Slice(stem, [1], [4], [2])",
            ])
    }

    @Test func orderOfImagesVanishes() throws {
        // The engine transposes twice before the sum and once before the reshape; PyTorch's order needs none of it.
        #expect(
            try lines("flatten").dropFirst() == [
                "reshape = Flatten(stem) axis=1", "reshape_2 = Flatten(stem) axis=1", "tanh = Tanh(reshape_2)",
                "output = Add(reshape, tanh)",
            ])
        #expect(
            try lines("reshape-to-image")[1...] == [
                "transpose = Reshape(stem, [0, 4, 2, 3])", "softmax = Softmax(transpose) axis=1",
                "output = Flatten(softmax) axis=1",
            ])
    }

    @Test func oneLayerTwiceHasOneWeight() throws {
        #expect(
            try lines("shared") == [
                "layers.0 = Gemm(input, layers.0.weight, layers.0.bias) transB=1", "relu = Relu(layers.0)",
                "output = Gemm(relu, layers.0.weight, layers.0.bias) transB=1",
            ])
    }

    @Test func aModelThatDoesNothingCopies() throws {
        let model = try ONNXModel(
            Network("nothing", [3], [Identity()]), input: [3], tensors: [], .init(name: "", producerVersion: ""))
        #expect(try Onnx_ModelProto(serializedBytes: model.bytes()).graph.lines == ["output = Identity(input)"])
    }

    @Test func namesDoNotClash() throws {
        final class Clashing: Module {
            let output = Linear(3), relu = Linear(2)
            func callAsFunction(_ x: Value) -> Value { DTrainLayers.relu(relu(DTrainLayers.relu(output(x)))) }
        }
        #expect(
            try written(Clashing(), [4]).graph.lines == [
                "output_2 = Gemm(input, output.weight, output.bias) transB=1", "relu = Relu(output_2)",
                "relu_2 = Gemm(relu, relu.weight, relu.bias) transB=1", "output = Relu(relu_2)",
            ])
    }

    @Test func classesAndNormalisationGoWithIt() throws {
        let description = ONNXModel.Description(
            name: "", producerVersion: "", classNames: ["cat", "\"dog\""], mean: [0.5, 0.25],
            standardDeviation: [2, 0.125])
        let model = try ONNXModel(Network("nothing", [3], [Identity()]), input: [3], tensors: [], description)
        let entries = try Onnx_ModelProto(serializedBytes: model.bytes()).metadataProps
        #expect(
            entries.map { "\($0.key) \($0.value)" } == [
                #"class_names ["cat","\"dog\""]"#, "mean [0.5,0.25]", "standard_deviation [2,0.125]",
            ])
    }
}
