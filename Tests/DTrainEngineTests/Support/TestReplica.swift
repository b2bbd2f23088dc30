import DTrainEngine
import DTrainTensor
import Testing

/// A replica with its samples, whose parameters and gradients are read and written by name in PyTorch's order.
final class TestReplica {
    let replica: Replica
    private let pool: ThreadPool
    /// Keeps the memory of the last samples.
    private var samples: (inputs: AlignedMemory, labels: AlignedMemory)?

    convenience init(
        _ model: any Module, input: [Int], objective: Objective = .crossEntropy(), capacity: Int, threads: Int,
        frozen: [String] = []
    ) throws {
        try self.init(
            model, reading: .values(Shape(input)), objective: objective, capacity: capacity, threads: threads,
            frozen: frozen)
    }

    init(
        _ model: any Module, reading input: ModelInput, objective: Objective = .crossEntropy(), capacity: Int,
        streams: Int? = nil, threads: Int, frozen: [String] = [], precision: Precision = .fp32
    ) throws {
        pool = ThreadPool(threadCount: threads)
        replica = try Replica(
            model, input: input, objective: objective, capacity: capacity, streams: streams, pool: pool,
            precision: precision, isFrozen: { NamePatterns(frozen).match($0) })
        replica.initialize(seed: 99)
    }

    /// Of the trainable ones.
    var parameterNames: [String] { replica.layout.segments.filter { $0.role == .trainable }.map(\.name) }

    /// The values of a parameter or a buffer.
    subscript(_ name: String) -> ReferenceTensor {
        get { tensor(name, in: replica.parameters) }
        set {
            let segment = segment(name)
            precondition(
                segment.shape.dimensions == newValue.shape, "\(name) is \(segment.shape), not \(newValue.shape)")
            segment.take(
                NamedTensor(name: name, shape: segment.shape, floats: newValue.floats), into: replica.parameters)
        }
    }

    /// All parameters, and the buffers of floats.
    var parameters: [String: ReferenceTensor] {
        let names = replica.layout.segments.filter { $0.dtype == .float32 }.map(\.name)
        return Dictionary(uniqueKeysWithValues: names.map { ($0, self[$0]) })
    }

    /// The gradient of the loss's sum.
    func gradient(_ name: String) -> ReferenceTensor { tensor(name, in: replica.gradients) }

    /// Forward, loss and backward. Checks on the way that gradients are reported as final in order, without a gap, and
    /// not too early, and that the padding between them stays zero.
    @discardableResult
    func step(
        _ inputs: ReferenceTensor, labels: [Int], step: Int = 0, firstPosition: Int = 0,
        mixing: (partners: [Int], weights: [Double])? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) -> Replica.LossSum {
        var samples = samples(inputs, labels)
        samples.step = step
        samples.firstPosition = firstPosition
        let mixed = mixing.map { (ownedSlice($0.partners.map(Int32.init)), ownedSlice($0.weights.map(Float.init))) }
        samples.mixing = mixed.map { ($0.0.slice, $0.1.slice) }
        return withExtendedLifetime(mixed) { self.step(samples, sourceLocation: sourceLocation) }
    }

    /// The same for samples of any kind.
    @discardableResult
    func step(_ samples: Replica.Samples, sourceLocation: SourceLocation = #_sourceLocation) -> Replica.LossSum {
        let context = GradientCollector(replica.gradients)
        let loss = replica.computeGradients(samples, context: context)
        #expect(
            context.collected.map(\.bitPattern) == replica.gradients.array().map(\.bitPattern),
            "a gradient changed after it was reported as final",
            sourceLocation: sourceLocation)
        var covered = [Bool](repeating: false, count: replica.gradients.count)
        for segment in replica.layout.segments where segment.role == .trainable {
            for index in segment.range { covered[index] = true }
        }
        #expect(
            zip(covered, replica.gradients.array()).allSatisfy { $0 || $1 == 0 }, "the arena's padding is not zero",
            sourceLocation: sourceLocation)
        return loss
    }

    /// The outputs of the last `step`.
    var outputs: [Float] { replica.trainingOutputs.array() }

    /// Evaluates and returns the outputs as [samples, outputs].
    func evaluate(_ inputs: ReferenceTensor, labels: [Int]) -> (outputs: ReferenceTensor, sum: Replica.EvaluationSum) {
        let sum = replica.evaluate(samples(inputs, labels))
        return (ReferenceTensor([labels.count, replica.outputCount], replica.outputs.array().map(Double.init)), sum)
    }

    private func samples(_ inputs: ReferenceTensor, _ labels: [Int]) -> Replica.Samples {
        let memory = (
            inputs: AlignedMemory(byteCount: inputs.values.count * 4),
            labels: AlignedMemory(byteCount: labels.count * 4)
        )
        samples = memory
        let inputSlice: MemorySlice<Float> = memory.inputs.slice()
        for (index, value) in inputs.floats.enumerated() { inputSlice[index] = value }
        let labelSlice: MemorySlice<Int32> = memory.labels.slice()
        for (index, label) in labels.enumerated() { labelSlice[index] = Int32(label) }
        return Replica.Samples(inputs: inputSlice[0..<inputs.values.count], labels: labelSlice[0..<labels.count])
    }

    private func segment(_ name: String) -> ParameterSegment {
        guard let segment = replica.layout.segments.first(where: { $0.name == name }) else {
            preconditionFailure("no parameter \(name) among \(parameterNames)")
        }
        return segment
    }

    private func tensor(_ name: String, in arena: MemorySlice<Float>) -> ReferenceTensor {
        let segment = segment(name)
        return ReferenceTensor(
            segment.shape.dimensions, segment.tensor(from: arena).array(of: Float.self).map(Double.init))
    }

    /// Gives the running statistics values far from their first ones.
    func moveRunningStatistics() {
        for segment in replica.layout.segments where segment.role == .buffer && segment.dtype == .float32 {
            let range: ClosedRange<Float> = segment.name.hasSuffix("running_var") ? 0.5...2 : -1...1
            self[segment.name] = .random(segment.shape.dimensions, seed: 61, in: range)
        }
    }

    /// A counter among the buffers.
    func counter(_ name: String) -> Int64 {
        segment(name).tensor(from: replica.parameters).array(of: Int64.self)[0]
    }
}

/// Copies each part of the gradient arena at the moment at which it is reported as final.
private final class GradientCollector: StepContext {
    private let gradients: MemorySlice<Float>
    private(set) var collected: [Float] = []

    init(_ gradients: MemorySlice<Float>) { self.gradients = gradients }

    func gradientsReady(_ range: Range<Int>) {
        #expect(range.lowerBound == collected.count, "gradients \(range) reported after \(collected.count)")
        collected += gradients[range].array()
    }
}

/// Expects every element within `tolerance` × the larger of the largest |expected| and `floor`.
func expectMatches(
    _ actual: ReferenceTensor, _ expected: ReferenceTensor, tolerance: Double = 2e-5, floor: Double = 1e-3,
    _ what: String, sourceLocation: SourceLocation = #_sourceLocation
) {
    let scale = expected.values.reduce(floor) { max($0, abs($1)) }
    expectClose(
        actual.map { $0 / scale }, expected.map { $0 / scale }, tolerance: tolerance, what,
        sourceLocation: sourceLocation)
}

/// A copy of `values` in memory of its own, which the caller keeps alive.
func ownedSlice<Element: BitwiseCopyable>(_ values: [Element]) -> (owner: AlignedMemory, slice: MemorySlice<Element>) {
    let owner = AlignedMemory(byteCount: values.count * MemoryLayout<Element>.stride)
    let slice = owner.slice(of: Element.self)[0..<values.count]
    for (index, value) in values.enumerated() { slice[index] = value }
    return (owner, slice)
}
