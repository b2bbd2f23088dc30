import DTrainEngine
import DTrainTensor
import Foundation

/// Translates a graph node by node.
///
/// The engine's values have their channels last, ONNX's first: a value of shape height × width × channels becomes
/// batch × channels × height × width, length × channels becomes batch × channels × length, and features stay. Flattened
/// images are in PyTorch's order right away, so the engine's transposes from one order to the other vanish.
struct GraphTranslation {
    static let inputName = "input"
    static let outputName = "output"

    private let graph: Graph
    private let writer: GraphWriter

    init(_ graph: Graph) throws {
        self.graph = graph
        writer = GraphWriter(reserved: [Self.inputName, Self.outputName] + graph.parameters.map(\.name))
        var names = [Self.inputName]
        names += [String](repeating: "", count: graph.values.count - 1)
        for node in graph.nodes {
            guard let operation = node.operation as? any ONNXOperation else {
                throw ONNXError.unsupported(
                    layer: node.path, operation: node.operation.name,
                    reason: "the exporter does not know this operation")
            }
            let place = NodePlace(
                writer: writer, layer: node.path,
                name: writer.uniqueName(node.path.isEmpty ? node.operation.name : node.path),
                operation: node.operation.name, inputs: node.inputs.map { names[$0] },
                inputShapes: node.inputs.map { graph.values[$0].shape }, outputShape: graph.values[node.output].shape,
                readsFlattenedImage: node.inputs.contains { graph.values[$0].flattenedImage != nil },
                parameterNames: node.parameters.map { graph.parameters[$0].name })
            for input in place.inputShapes where !(1...3).contains(input.rank) {
                throw place.unsupported("samples of shape \(input) have no place in an image network")
            }
            names[node.output] = try operation.translate(place)
        }
        writer.rename(names[graph.output], to: Self.outputName)
    }

    /// The names of the parameters that evaluation reads.
    var parameters: Set<String> { writer.parameters }

    /// The graph with its weights. Throws `ONNXError.parameters` where those of `tensors` do not fit.
    func proto(name: String, tensors: [NamedTensor]) throws -> Onnx_GraphProto {
        let used = tensors.filter { parameters.contains($0.name) }
        let mismatch = TensorMismatch(
            expected: graph.parameters.filter { parameters.contains($0.name) }
                .map { ($0.name, $0.shape, $0.dtype) },
            found: used.map { ($0.name, $0.shape, $0.dtype) })
        guard mismatch.isEmpty else { throw ONNXError.parameters(mismatch) }
        return .with {
            $0.name = name
            $0.node = writer.nodes
            $0.initializer = used.map(\.onnx) + writer.constants
            $0.input = [valueInfo(Self.inputName, graph.values[0].shape, "normalised samples")]
            $0.output = [valueInfo(Self.outputName, graph.values[graph.output].shape, "what the model returns")]
        }
    }

    private func valueInfo(_ name: String, _ shape: Shape, _ meaning: String) -> Onnx_ValueInfoProto {
        .with {
            $0.name = name
            $0.docString =
                "\(meaning), \(["batch", "channels", "height", "width"].prefix(shape.rank + 1).joined(separator: " × "))"
            $0.type.tensorType.elemType = Int32(Onnx_TensorProto.DataType.float.rawValue)
            $0.type.tensorType.shape.dim = [.with { $0.dimParam = "batch" }]
            $0.type.tensorType.shape.dim += shape.channelsFirst.map { extent in .with { $0.dimValue = Int64(extent) } }
        }
    }
}

extension Shape {
    /// Height and width of an image, the length of a sequence, nothing of features.
    var spatial: [Int] { Array(dimensions.dropLast()) }
    /// The extents as ONNX has them, without the batch.
    var channelsFirst: [Int] { [dimensions.last!] + spatial }
}

extension NamedTensor {
    /// The tensor as ONNX stores it, sharing this one's memory.
    var onnx: Onnx_TensorProto {
        precondition(dtype == .float32)
        let owner = memory
        return .with {
            $0.name = name
            $0.dims = shape.dimensions.map(Int64.init)
            $0.dataType = Int32(Onnx_TensorProto.DataType.float.rawValue)
            $0.rawData = Data(
                bytesNoCopy: owner.base, count: byteCount,
                deallocator: .custom { _, _ in withExtendedLifetime(owner) {} })
        }
    }
}
