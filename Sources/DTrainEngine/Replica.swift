internal import CKernels
public import DTrainTensor

/// One model on one rank: its parameters, its gradients, and the plans that compute them.
///
/// Sums, not means: the loss and the gradients are those of the sum over the samples of a run; whoever adds up runs and
/// ranks divides once, by the sum of the denominators.
public final class Replica {
    /// The parameters' places in the arena.
    public let layout: ParameterLayout
    /// All parameters, flat.
    public let parameters: MemorySlice<Float>
    /// The gradients of the trainable part, at the same offsets. Padding stays zero.
    public let gradients: MemorySlice<Float>
    /// The shape of one sample: height × width × channels.
    public let inputShape: Shape
    /// The number of values that the model returns for a sample.
    public let outputCount: Int
    /// The most samples of one run.
    public let capacity: Int
    /// The graph that trains; the one that evaluates differs in dropout, for one.
    package let trainingGraph: Graph
    package let evaluationGraph: Graph
    /// The size of the activation arena in bytes, and the least that any arena could have.
    package let arenaByteCount: Int
    package let arenaLowerBoundByteCount: Int

    private let memory:
        (parameters: AlignedMemory, gradients: AlignedMemory, arena: AlignedMemory, ranks: AlignedMemory)
    private let training: Plan
    private let evaluation: Plan
    private let pool: ThreadPool
    private let pass: Pass

    /// Traces `model` and compiles it.
    ///
    /// - Parameters:
    ///   - input: the shape of one sample, height × width × channels.
    ///   - classes: how many values the model must return for a sample; nil for any number.
    ///   - capacity: the most samples of one run.
    ///   - pool: the threads that share each run.
    /// - Throws: `GraphError` where a shape does not fit.
    public init(
        _ model: any Module, input: Shape, classes: Int? = nil, objective: Objective = .crossEntropy(), capacity: Int,
        pool: ThreadPool
    ) throws {
        trainingGraph = try Graph.trace(model, input: input, mode: .training, objective: objective)
        // Evaluation reports the plain loss: smoothing is a means of training.
        evaluationGraph = try Graph.trace(
            model, input: input, mode: .evaluation,
            objective: objective == .meanSquaredError ? .meanSquaredError : .crossEntropy())
        outputCount = trainingGraph.values[trainingGraph.output].shape.count
        if let classes, classes != outputCount {
            throw GraphError(
                place: "",
                reason: "the model returns \(outputCount) values for a sample, but the data has \(classes) classes")
        }
        guard !trainingGraph.parameters.isEmpty else {
            throw GraphError(place: "", reason: "the model has no parameters, so there is nothing to train")
        }
        inputShape = input
        self.capacity = capacity
        layout = trainingGraph.parameterLayout()
        training = Plan(trainingGraph, layout: layout, capacity: capacity, threads: pool.threadCount)
        evaluation = Plan(evaluationGraph, layout: layout, capacity: capacity, threads: pool.threadCount)
        let floats = MemoryLayout<Float>.stride
        // Kernels read whole vectors: the last ones must not end beyond the arena.
        let arenaCount = max(training.arenaCount, evaluation.arenaCount) + AlignedMemory.alignment
        arenaByteCount = arenaCount * floats
        arenaLowerBoundByteCount = max(training.arenaLowerBound, evaluation.arenaLowerBound) * floats
        memory = (
            AlignedMemory(byteCount: (layout.totalCount + AlignedMemory.alignment) * floats),
            AlignedMemory(byteCount: layout.trainableCount * floats),
            AlignedMemory(byteCount: arenaByteCount), AlignedMemory(byteCount: capacity * MemoryLayout<Int32>.stride)
        )
        parameters = memory.parameters.slice()[0..<layout.totalCount]
        gradients = memory.gradients.slice()[0..<layout.trainableCount]
        self.pool = pool
        let arena: MemorySlice<Float> = memory.arena.slice()
        let (parameters, gradients) = (parameters.base, gradients.base)
        pass = Pass(
            runs: (0..<pool.threadCount).map {
                Run(thread: $0, pool: pool, arena: arena.base, parameters: parameters, gradients: gradients)
            })
    }

    /// Gives every parameter its first value: a function of the seed and the parameter's name alone.
    public func initialize(seed: UInt64) {
        for parameter in trainingGraph.parameters {
            let segment = layout.segments.first { $0.name == parameter.name }!
            let tensor = NamedTensor(
                name: parameter.name, shape: parameter.shape,
                floats: parameter.initializer.values(name: parameter.name, shape: parameter.shape, seed: seed))
            segment.order.import(tensor.floats, into: parameters[segment.range])
        }
    }

    /// The samples of one run and where they stand.
    public struct Samples: Sendable {
        /// fp32, samples × height × width × channels.
        public var inputs: MemorySlice<Float>
        /// One class index a sample.
        public var labels: MemorySlice<Int32>
        /// The position of the first sample in the global batch.
        public var firstPosition: Int
        /// The step and the seed, for dropout.
        public var step: Int
        public var seed: UInt64

        public init(
            inputs: MemorySlice<Float>, labels: MemorySlice<Int32>, firstPosition: Int = 0, step: Int = 0,
            seed: UInt64 = 0
        ) {
            self.inputs = inputs
            self.labels = labels
            self.firstPosition = firstPosition
            self.step = step
            self.seed = seed
        }

        public var count: Int { labels.count }
    }

    /// A loss summed over samples, and what to divide it by for the mean that PyTorch reports.
    public struct LossSum: Sendable {
        public var sum: Double
        public var denominator: Double
    }

    /// What an evaluation counts, in whole numbers.
    public struct EvaluationSum: Sendable {
        public var loss: LossSum
        /// Samples whose label has the largest output, and those whose label is among the five largest.
        public var correct: Int
        public var correctTop5: Int
    }

    /// Forward, loss and backward: sets `gradients` to the gradient of the loss's sum over `samples`.
    public func computeGradients(_ samples: Samples, context: any StepContext) -> LossSum {
        prepare(samples)
        pass.plan = training
        pass.context = context
        pool.run(pass)
        pass.context = nil
        return lossSum(training)
    }

    /// Forward and loss with the layers in evaluation mode.
    public func evaluate(_ samples: Samples) -> EvaluationSum {
        prepare(samples)
        pass.plan = evaluation
        pool.run(pass)
        let ranks: MemorySlice<Int32> = memory.ranks.slice()
        dt_label_rank(run.pointer(evaluation.outputPlace), run.labels, run.rows, outputCount, ranks.base)
        var correct = 0
        var correctTop5 = 0
        for row in 0..<run.rows {
            if ranks[row] == 0 { correct += 1 }
            if ranks[row] < min(5, outputCount) { correctTop5 += 1 }
        }
        return EvaluationSum(loss: lossSum(evaluation), correct: correct, correctTop5: correctTop5)
    }

    /// The model's outputs for the samples of the last call of `evaluate`: samples × outputs, valid until the next run.
    public var outputs: MemorySlice<Float> {
        MemorySlice(base: run.pointer(evaluation.outputPlace), count: run.rows * outputCount)
    }

    /// The outputs of the last call of `computeGradients`, valid until the next run.
    package var trainingOutputs: MemorySlice<Float> {
        MemorySlice(base: run.pointer(training.outputPlace), count: run.rows * outputCount)
    }

    /// Forward and, with a context, backward of a plan, as all threads do it together.
    private final class Pass: PoolTask {
        let runs: [Run]
        var plan: Plan?
        var context: (any StepContext)?

        init(runs: [Run]) { self.runs = runs }

        func run(thread: Int) {
            let run = runs[thread]
            plan!.forward(run)
            if let context { plan!.backward(run, context: context) }
        }
    }

    /// The first thread's view: where the caller reads results.
    private var run: Run { pass.runs[0] }

    private func prepare(_ samples: Samples) {
        precondition(samples.count <= capacity, "\(samples.count) samples in a run of at most \(capacity)")
        precondition(samples.inputs.count == samples.count * inputShape.count, "samples are not \(inputShape)")
        for run in pass.runs {
            run.input = samples.inputs.base
            run.labels = UnsafePointer(samples.labels.base)
            run.rows = samples.count
            run.firstPosition = samples.firstPosition
            run.step = samples.step
            run.seed = samples.seed
        }
    }

    private func lossSum(_ plan: Plan) -> LossSum {
        let loss = run.pointer(plan.lossPlace!)
        var sum = 0.0
        for row in 0..<run.rows { sum += Double(loss[row]) }
        return LossSum(sum: sum, denominator: Double(run.rows * plan.graph.lossDenominatorPerSample))
    }

    /// Multiply-adds of one sample's forward pass.
    public var multiplyAdds: Int { evaluationGraph.multiplyAdds }

    /// Multiply-adds of one sample's step: forward, weight gradients, and those input gradients that are needed (none with
    /// respect to the samples).
    public var stepMultiplyAdds: Int { training.multiplyAdds }
}
