import DTrainCheckpoint
import DTrainEngine
import DTrainTensor
import Foundation
import Testing

/// A model with samples: one evaluation, one step, and what they leave.
final class ModelRun {
    let replica: Replica
    private let inputs: NamedTensor
    private let labels: AlignedMemory
    private let pool: ThreadPool

    /// `inputs` is samples × height × width × channels. Convolutions are computed by `method`.
    init(
        _ model: any Module, inputs: NamedTensor, labels: [Int32], threads: Int = 1, method: ConvolutionMethod = .byRule
    ) throws {
        self.inputs = inputs
        self.labels = AlignedMemory(byteCount: labels.count * 4)
        let target = self.labels.slice(of: Int32.self)
        for (index, label) in labels.enumerated() { target[index] = label }
        pool = ThreadPool(threadCount: threads)
        replica = try ConvolutionMethod.$ofModels.withValue(method) { [pool] in
            try Replica(
                model, input: Shape(Array(inputs.shape.dimensions.dropFirst())), capacity: labels.count, pool: pool)
        }
    }

    /// Batch-norms that a plan of training leaves to the convolution behind them.
    var deferredCount: Int {
        replica.training!.graph.nodes.filter { ($0.operation as? Convolution)?.normalizesInput == true }.count
    }

    private var count: Int { inputs.shape[0] }
    private var samples: Replica.Samples {
        Replica.Samples(inputs: inputs.floats, labels: labels.slice()[0..<count])
    }

    /// The logits in evaluation.
    func evaluate() -> [Float] {
        _ = replica.evaluate(samples)
        return replica.outputs.array()
    }

    /// Forward, loss and backward in training mode; the mean loss.
    func computeGradients() -> Float {
        let loss = replica.computeGradients(samples, context: LoneStep())
        return Float(loss.sum / loss.denominator)
    }

    /// The outputs of the last `computeGradients`.
    var trainingLogits: [Float] { replica.trainingOutputs.array() }

    /// The gradient of the mean loss, in PyTorch's order.
    func gradient(_ segment: ParameterSegment) -> [Float] {
        segment.tensor(from: replica.gradients).array(of: Float.self).map { $0 / Float(count) }
    }

    /// The parameters that have gradients.
    var trainable: [ParameterSegment] { replica.layout.segments.filter { $0.role == .trainable } }
}

/// The tensors of a committed file, by name.
struct Fixture {
    let tensors: [String: [Float]]
    let metadata: [String: String]

    init(_ name: String) throws {
        let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        let file = try SafetensorsFile(directory.appendingPathComponent("Fixtures/\(name).safetensors").path)
        tensors = try Dictionary(uniqueKeysWithValues: file.tensors().map { ($0.name, $0.array(of: Float.self)) })
        metadata = file.metadata
    }

    func callAsFunction(_ name: String) throws -> [Float] { try #require(tensors[name], "no tensor \(name)") }

    /// The tensors whose names begin with `prefix`, under the rest of their names.
    func all(_ prefix: String) -> [String: [Float]] {
        Dictionary(
            uniqueKeysWithValues: tensors.filter { $0.key.hasPrefix(prefix) }.map {
                (String($0.key.dropFirst(prefix.count)), $0.value)
            })
    }
}

/// The deviation of the logits between images: the root of their variance, averaged over the classes.
func spread(_ logits: [Float], images: Int) -> Float {
    let classes = logits.count / images
    var sum = 0.0
    for c in 0..<classes {
        let values = (0..<images).map { Double(logits[$0 * classes + c]) }
        let mean = values.reduce(0, +) / Double(images)
        sum += values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(images)
    }
    return Float((sum / Double(classes)).squareRoot())
}
