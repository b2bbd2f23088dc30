public import DTrainEngine
public import DTrainTensor
public import Foundation
internal import SwiftProtobuf

/// A model with its weights in the Open Neural Network Exchange format (https://onnx.ai), which onnxruntime and others run.
///
/// It computes what the model does in evaluation. `input` is normalised fp32, batch × channels × height × width as in
/// PyTorch, and `output` what the model returns, batch × classes; the size of the batch is free. Weights have PyTorch's
/// names, shapes and order, nodes the paths of the layers.
public struct ONNXModel {
    /// What is written beside the network.
    public struct Description: Sendable {
        /// The model's name.
        public var name: String
        /// The version of the program that writes.
        public var producerVersion: String
        /// The name of each class, in the order of the outputs; empty where there are none.
        public var classNames: [String]
        /// Of each channel, for pixels scaled to 0 … 1: input is (pixel − mean) / standardDeviation. Empty where unknown.
        public var mean: [Float]
        public var standardDeviation: [Float]

        public init(
            name: String, producerVersion: String, classNames: [String] = [], mean: [Float] = [],
            standardDeviation: [Float] = []
        ) {
            self.name = name
            self.producerVersion = producerVersion
            self.classNames = classNames
            self.mean = mean
            self.standardDeviation = standardDeviation
        }
    }

    /// The most bytes of a message of Protocol Buffers that swift-protobuf writes.
    public static let byteLimit = Int(Int32.max) - 1
    /// The oldest set of operators that has all that is needed (layer normalisation came last), and its file version.
    private static let operatorSet: Int64 = 17
    private static let fileVersion: Int64 = 8

    package private(set) var proto = Onnx_ModelProto()
    /// The tensors that the file holds.
    public let parameterNames: Set<String>

    /// Traces `model` for evaluation and translates the graph.
    ///
    /// - Parameters:
    ///   - model: as it was built for training.
    ///   - input: the shape of one sample, height × width × channels.
    ///   - tensors: parameters and buffers by PyTorch's names; more than the model evaluates with (auxiliary classifiers,
    ///     counters) are left out. Their memory is shared, not copied.
    /// - Throws: `GraphError` where a shape does not fit, `ONNXError` where ONNX cannot say what a layer does or where a
    ///   tensor is missing or has another shape.
    public init(
        _ model: any Module, input: Shape, tensors: [NamedTensor], _ description: Description
    ) throws {
        let graph = try Graph.trace(model, input: input, mode: .evaluation, objective: nil)
        proto.irVersion = Self.fileVersion
        proto.opsetImport = [.with { $0.version = Self.operatorSet }]
        proto.producerName = "dtrain"
        proto.producerVersion = description.producerVersion
        let translation = try GraphTranslation(graph)
        parameterNames = translation.parameters
        proto.graph = try translation.proto(name: description.name, tensors: tensors)
        proto.metadataProps = try Self.metadata(description)
    }

    /// The file's content.
    ///
    /// Throws `ONNXError.tooLarge` for a model of more than `limit` bytes.
    public func bytes(limit: Int = byteLimit) throws -> Data {
        let weights = proto.graph.initializer.reduce(0) { $0 + $1.rawData.count }
        guard weights <= limit else { throw ONNXError.tooLarge(byteCount: weights, limit: limit) }
        do {
            return try proto.serializedBytes()
        } catch is BinaryEncodingError {
            // What it says where there is too much beside the weights; no field is required, so it can mean nothing else.
            throw ONNXError.tooLarge(byteCount: weights, limit: limit)
        }
    }

    private static func metadata(_ description: Description) throws -> [Onnx_StringStringEntryProto] {
        func entry(_ key: String, _ values: some Encodable & Collection) throws -> Onnx_StringStringEntryProto? {
            if values.isEmpty { return nil }
            let text = String(decoding: try JSONEncoder().encode(values), as: UTF8.self)
            return .with {
                $0.key = key
                $0.value = text
            }
        }
        return try [
            entry("class_names", description.classNames), entry("mean", description.mean),
            entry("standard_deviation", description.standardDeviation),
        ].compactMap { $0 }
    }
}
