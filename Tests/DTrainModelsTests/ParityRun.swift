import DTrainEngine
import DTrainModels
import DTrainTensor
import Testing

/// A model with the fixture's weights.
final class ParityRun {
    let replica: Replica
    let pool: ThreadPool

    init(_ model: String, threads: Int) throws {
        let entry = try #require(ModelEntry.all.first { $0.name == model })
        pool = ThreadPool(threadCount: threads)
        replica = try Replica(
            entry.make(ModelOptions(classes: 10)), input: [28, 28, 1], classes: 10, objective: entry.objective,
            capacity: ParityFixture.batch, pool: pool)
        // PyTorch's order of the parameters is that of the trace: layer by layer, the weight before the bias.
        for (index, parameter) in replica.trainingGraph.parameters.enumerated() {
            let segment = try #require(replica.layout.segments.first { $0.name == parameter.name })
            let weightShape =
                parameter.name.hasSuffix(".bias")
                ? replica.trainingGraph.parameters[index - 1].shape : parameter.shape
            let values = ParityFixture.initialValues(
                index: index, count: parameter.shape.count, fanIn: weightShape.dimensions.dropFirst().reduce(1, *))
            let torch = NamedTensor(name: parameter.name, shape: parameter.shape, floats: values)
            segment.order.import(torch.floats, into: replica.parameters[segment.range])
        }
    }

    /// The mean loss of batch `k`; the gradients are those of the sum.
    func computeGradients(batch k: Int) throws -> Double {
        let digits = try ParityFixture.digits(batch: k)
        return withExtendedLifetime(digits.owner) {
            let loss = replica.computeGradients(
                Replica.Samples(inputs: digits.images, labels: digits.labels, step: k), context: LoneStep())
            return loss.sum / loss.denominator
        }
    }

    func evaluate(batch k: Int) throws -> Replica.EvaluationSum {
        let digits = try ParityFixture.digits(batch: k)
        return withExtendedLifetime(digits.owner) {
            replica.evaluate(Replica.Samples(inputs: digits.images, labels: digits.labels))
        }
    }

    var logits: [Float] { replica.trainingOutputs.array() }

    /// The gradient of the mean, in PyTorch's order.
    func gradient(_ segment: ParameterSegment) -> [Float] {
        values(segment, replica.gradients).map { $0 / Float(ParityFixture.batch) }
    }

    func parameter(_ segment: ParameterSegment) -> [Float] { values(segment, replica.parameters) }

    private func values(_ segment: ParameterSegment, _ arena: MemorySlice<Float>) -> [Float] {
        let torch = NamedTensor(name: segment.name, dtype: .float32, shape: segment.shape)
        segment.order.export(arena[segment.range], into: torch.floats)
        return torch.floats.array()
    }
}
