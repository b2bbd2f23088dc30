internal import CKernels
public import DTrainTensor

/// One model on one rank: its parameters, its gradients, and the plans that compute them.
///
/// Sums, not means: the loss and the gradients are those of the sum over the samples of a run; whoever adds up runs and
/// ranks divides once, by the sum of the denominators.
public final class Replica {
    /// The parameters' places in the arena.
    public let layout: ParameterLayout
    /// All parameters, flat, and behind them the buffers.
    public let parameters: MemorySlice<Float>
    /// The gradients of the trainable part, at the same offsets. Padding stays zero.
    public let gradients: MemorySlice<Float>
    /// What the model reads for one sample.
    public let input: ModelInput
    /// The shape of one sample: height × width × channels; of one step, where samples are sequences.
    public var inputShape: Shape { input.shape }
    /// The number of values that the model returns for a sample, or for a step.
    public let outputCount: Int
    /// Whether the model returns a row for each step of a sequence, and labels are one a step too.
    public let returnsSequences: Bool
    /// The most samples of one run.
    public let capacity: Int
    /// The graph that trains; the one that evaluates differs in dropout, for one.
    package let trainingGraph: Graph
    package let evaluationGraph: Graph
    /// The size of the activation arena in bytes, and the least that any arena could have.
    package let arenaByteCount: Int
    package let arenaLowerBoundByteCount: Int

    /// What the last `computeGradients` left for the running statistics: sums, to be added up over shards and ranks and
    /// handed to `updateRunningStatistics`.
    public let statistics: MemorySlice<Double>

    /// What streams carry from one training batch to the next: one row of `carriedStateCount` floats for each position of
    /// the global batch. Empty for a model that carries nothing.
    public let carriedState: MemorySlice<Float>
    /// The same of evaluation, apart from training's.
    public let evaluationState: MemorySlice<Float>
    public let carriedStateCount: Int

    /// Told of every kernel of `computeGradients`; nil by default. Changed between runs only.
    public var observer: (any KernelObserver)?

    private let memory:
        (
            parameters: AlignedMemory, gradients: AlignedMemory, arena: AlignedMemory, ranks: AlignedMemory,
            statistics: AlignedMemory, states: AlignedMemory
        )
    /// nil where nothing is trained.
    package let training: Plan?
    private let evaluation: Plan
    private let pool: ThreadPool
    private let pass: Pass
    private let sequences: RunSequences?

    /// Traces `model` and compiles it.
    ///
    /// - Parameters:
    ///   - input: what the model reads for one sample.
    ///   - classes: how many values the model must return for a sample; nil for any number.
    ///   - capacity: the most samples of one run.
    ///   - streams: the positions of the global batch: how many rows carried state has; default `capacity`.
    ///   - pool: the threads that share each run.
    ///   - trains: false for a replica that only evaluates: it has no gradients and needs less memory.
    ///   - synchronisesBatchNorm: batch statistics are those of all ranks (`StepContext.sum`), not of each shard.
    ///   - precision: the arithmetic of the products; one without an `obstacle`.
    ///   - isFrozen: whether training leaves the parameter of this name alone. A batch-norm whose parameters are all frozen
    ///     uses its running statistics, and leaves those alone too.
    /// - Throws: `GraphError` where a shape does not fit.
    public init(
        _ model: any Module, input: ModelInput, classes: Int? = nil, objective: Objective = .crossEntropy(),
        capacity: Int, streams: Int? = nil, pool: ThreadPool, trains: Bool = true, synchronisesBatchNorm: Bool = false,
        precision: Precision = .fp32, isFrozen: @escaping @Sendable (String) -> Bool = { _ in false }
    ) throws {
        trainingGraph = try Graph.trace(
            model, input: input,
            TraceOptions(
                .training, objective: objective, isFrozen: isFrozen, synchronisesBatchNorm: synchronisesBatchNorm))
        // Evaluation reports the plain loss: smoothing is a means of training.
        evaluationGraph = try Graph.trace(
            model, input: input,
            TraceOptions(
                .evaluation, objective: objective == .meanSquaredError ? .meanSquaredError : .crossEntropy()))
        let output = trainingGraph.values[trainingGraph.output]
        outputCount = output.shape.count
        returnsSequences = output.rows == .steps
        if let classes, classes != outputCount {
            throw GraphError(
                place: "",
                reason: "the model returns \(outputCount) values for a sample, but the data has \(classes) classes")
        }
        guard !trainingGraph.parameters.isEmpty else {
            throw GraphError(place: "", reason: "the model has no parameters, so there is nothing to train")
        }
        guard trainingGraph.parameters.contains(where: { $0.role == .trainable }) else {
            throw GraphError(place: "", reason: "every parameter is frozen, so there is nothing to train")
        }
        self.input = input
        self.capacity = capacity
        let layout = trainingGraph.parameterLayout()
        self.layout = layout
        func plan(_ graph: Graph) -> Plan {
            Plan(graph, layout: layout, capacity: capacity, threads: pool.threadCount, precision: precision)
        }
        training =
            trains ? plan(trainingGraph) : nil
        evaluation = plan(evaluationGraph)
        let floats = MemoryLayout<Float>.stride
        // Kernels read whole vectors: the last ones must not end beyond the arena.
        let arenaCount = max(training?.arenaCount ?? 0, evaluation.arenaCount) + AlignedMemory.alignment
        arenaByteCount = arenaCount * floats
        arenaLowerBoundByteCount = max(training?.arenaLowerBound ?? 0, evaluation.arenaLowerBound) * floats
        let gradientCount = trains ? layout.trainableCount : 0
        let statisticsCount = training?.statisticsCount ?? 0
        memory = (
            AlignedMemory(byteCount: (layout.totalCount + AlignedMemory.alignment) * floats),
            AlignedMemory(byteCount: gradientCount * floats),
            AlignedMemory(byteCount: arenaByteCount),
            AlignedMemory(byteCount: capacity * input.longest * MemoryLayout<Int32>.stride),
            AlignedMemory(byteCount: statisticsCount * MemoryLayout<Double>.stride),
            AlignedMemory(byteCount: 2 * (streams ?? capacity) * evaluation.carriedStateCount * floats)
        )
        carriedStateCount = evaluation.carriedStateCount
        let states: MemorySlice<Float> = memory.states.slice()
        let stateCount = (streams ?? capacity) * carriedStateCount
        carriedState = states[0..<stateCount]
        evaluationState = states[stateCount..<2 * stateCount]
        sequences = input.isSequence ? RunSequences(longest: input.longest) : nil
        statistics = memory.statistics.slice()[0..<statisticsCount]
        parameters = memory.parameters.slice()[0..<layout.totalCount]
        gradients = memory.gradients.slice()[0..<gradientCount]
        self.pool = pool
        let arena: MemorySlice<Float> = memory.arena.slice()
        let (parameters, gradients, statistics) = (parameters.base, gradients.base, statistics.base)
        pass = Pass(
            runs: (0..<pool.threadCount).map {
                Run(
                    thread: $0, pool: pool, arena: arena.base, parameters: parameters, gradients: gradients,
                    statistics: statistics)
            })
    }

    /// Fills the memory of values and workspaces: nothing may depend on what it held.
    package func fillArena(_ value: Float) {
        let arena: MemorySlice<Float> = memory.arena.slice()
        arena.fill(value)
    }

    /// The same for a model that reads samples of this shape.
    public convenience init(
        _ model: any Module, input: Shape, classes: Int? = nil, objective: Objective = .crossEntropy(), capacity: Int,
        pool: ThreadPool, trains: Bool = true, synchronisesBatchNorm: Bool = false,
        precision: Precision = .fp32, isFrozen: @escaping @Sendable (String) -> Bool = { _ in false }
    ) throws {
        try self.init(
            model, input: .values(input), classes: classes, objective: objective, capacity: capacity, pool: pool,
            trains: trains, synchronisesBatchNorm: synchronisesBatchNorm, precision: precision, isFrozen: isFrozen)
    }

    /// The layers that normalise by the batch's own statistics while training, and the pixels of a sample at each.
    public var batchNorms: [(path: String, pixels: Int)] {
        trainingGraph.nodes.compactMap { node in
            guard let operation = node.operation as? BatchNorm, !operation.usesRunningStatistics else { return nil }
            let shape = trainingGraph.values[node.output].shape
            return (node.path, shape.count / shape.dimensions.last!)
        }
    }

    /// Streams begin anew: what training carried is forgotten.
    public func resetCarriedState() { carriedState.fill(0) }

    /// Streams begin anew in evaluation.
    public func resetEvaluationState() { evaluationState.fill(0) }

    /// Gives every parameter its first value: a function of the seed and the parameter's name alone.
    public func initialize(seed: UInt64) {
        let segments = Dictionary(uniqueKeysWithValues: layout.segments.map { ($0.name, $0) })
        for parameter in trainingGraph.parameters {
            let segment = segments[parameter.name]!
            let elements = parameters[segment.range]
            // Counters start at zero.
            guard parameter.dtype == .float32 else {
                elements.fill(0)
                continue
            }
            segment.order.fill(
                elements, with: parameter.initializer.values(name: parameter.name, shape: parameter.shape, seed: seed))
        }
    }

    /// Moves the running statistics of every batch-norm towards those of a whole step: `sums` is `statistics`, added up over
    /// its shards and over all ranks. So they stay equal on all ranks.
    public func updateRunningStatistics(with sums: MemorySlice<Double>) {
        precondition(sums.count == statistics.count)
        for batchNorm in training?.runningStatistics ?? [] { batchNorm.update(parameters.base, with: sums.base) }
    }

    /// How many gradients of parameters the runs so far computed, over all threads: none of a frozen parameter.
    package var parameterGradientCount: Int { pass.runs.reduce(0) { $0 + $1.parameterGradientCount } }

    /// What the model reads in one run.
    public enum Inputs: Sendable {
        /// fp32, samples × height × width × channels.
        case values(MemorySlice<Float>)
        /// fp32, packed steps × features.
        case steps(MemorySlice<Float>, PackedSequences)
        /// int32, packed steps.
        case tokens(MemorySlice<Int32>, PackedSequences)
    }

    /// The samples of one run and where they stand.
    public struct Samples: Sendable {
        public var inputs: Inputs
        /// One class index a sample; one a packed step where the model returns sequences.
        public var labels: MemorySlice<Int32>
        /// The position of the first sample in the global batch.
        public var firstPosition: Int
        /// The step and the seed, for dropout.
        public var step: Int
        public var seed: UInt64
        /// For mixed samples (mixup, cutmix) the label of each one's partner, and the weight of its own label.
        public var mixing: (partnerLabels: MemorySlice<Int32>, weights: MemorySlice<Float>)?

        public init(
            inputs: Inputs, labels: MemorySlice<Int32>, firstPosition: Int = 0, step: Int = 0,
            seed: UInt64 = 0, mixing: (partnerLabels: MemorySlice<Int32>, weights: MemorySlice<Float>)? = nil
        ) {
            self.mixing = mixing
            self.inputs = inputs
            self.labels = labels
            self.firstPosition = firstPosition
            self.step = step
            self.seed = seed
        }

        /// As above, for samples that are no sequences.
        public init(
            inputs: MemorySlice<Float>, labels: MemorySlice<Int32>, firstPosition: Int = 0, step: Int = 0,
            seed: UInt64 = 0, mixing: (partnerLabels: MemorySlice<Int32>, weights: MemorySlice<Float>)? = nil
        ) {
            self.init(
                inputs: .values(inputs), labels: labels, firstPosition: firstPosition, step: step, seed: seed,
                mixing: mixing)
        }

        public var count: Int { sequences?.lengths.count ?? labels.count }

        /// How sequences are packed, where samples are sequences.
        var sequences: PackedSequences? {
            switch inputs {
            case .values: nil
            case .steps(_, let sequences), .tokens(_, let sequences): sequences
            }
        }
    }

    /// A loss summed over samples, and what to divide it by for the mean that PyTorch reports.
    public struct LossSum: Sendable {
        public var sum: Double
        public var denominator: Double
    }

    /// What an evaluation counts, in whole numbers.
    public struct EvaluationSum: Sendable {
        public var loss: LossSum
        /// Labels: one a sample, or one a step.
        public var count: Int
        /// Those that have the largest output, and those that are among the five largest.
        public var correct: Int
        public var correctTop5: Int
    }

    /// Forward, loss and backward: sets `gradients` to the gradient of the loss's sum over `samples`.
    public func computeGradients(_ samples: Samples, context: any StepContext) -> LossSum {
        guard let training else { preconditionFailure("a replica that only evaluates has no gradients") }
        prepare(samples, carriedState)
        for run in pass.runs { (run.context, run.observer) = (context, observer) }
        pass.plan = training
        pool.run(pass)
        for run in pass.runs { (run.context, run.observer) = (nil, nil) }
        return lossSum(training)
    }

    /// Forward and loss with the layers in evaluation mode.
    public func evaluate(_ samples: Samples) -> EvaluationSum {
        prepare(samples, evaluationState)
        pass.plan = evaluation
        pool.run(pass)
        let ranks: MemorySlice<Int32> = memory.ranks.slice()
        let rows = outputRows
        dt_label_rank(run.pointer(evaluation.outputPlace), run.labels, rows, outputCount, ranks.base)
        var correct = 0
        var correctTop5 = 0
        for row in 0..<rows {
            if ranks[row] == 0 { correct += 1 }
            if ranks[row] < min(5, outputCount) { correctTop5 += 1 }
        }
        return EvaluationSum(
            loss: lossSum(evaluation), count: rows, correct: correct, correctTop5: correctTop5)
    }

    /// The rows of the last run's output: samples, or packed steps.
    private var outputRows: Int { run.rows(evaluation.outputPlace) }

    /// The model's outputs for the samples, or packed steps, of the last call of `evaluate`: rows × outputs, valid until the
    /// next run.
    public var outputs: MemorySlice<Float> {
        MemorySlice(base: run.pointer(evaluation.outputPlace), count: outputRows * outputCount)
    }

    /// The class with the largest output for each row of the last call of `evaluate`; of equal ones the first.
    public var predictions: [Int] {
        let outputs = outputs
        return (0..<outputRows).map { row in
            let logits = outputs[row * outputCount..<(row + 1) * outputCount]
            var best = 0
            for index in 1..<max(outputCount, 1) where logits[index] > logits[best] { best = index }
            return best
        }
    }

    /// The outputs of the last call of `computeGradients`, valid until the next run.
    package var trainingOutputs: MemorySlice<Float> {
        MemorySlice(base: run.pointer(training!.outputPlace), count: outputRows * outputCount)
    }

    /// Forward and, with a context, backward of a plan, as all threads do it together.
    private final class Pass: PoolTask {
        let runs: [Run]
        var plan: Plan?

        init(runs: [Run]) { self.runs = runs }

        func run(thread: Int) {
            let run = runs[thread]
            plan!.forward(run)
            if run.context != nil { plan!.backward(run) }
        }
    }

    /// The first thread's view: where the caller reads results.
    private var run: Run { pass.runs[0] }

    private func prepare(_ samples: Samples, _ state: MemorySlice<Float>) {
        precondition(samples.count <= capacity, "\(samples.count) samples in a run of at most \(capacity)")
        if let packed = samples.sequences { sequences?.prepare(packed) }
        let rows = sequences?.tokenCount ?? samples.count
        let base: UnsafeMutablePointer<Float>
        switch (samples.inputs, input) {
        case (.values(let values), .values), (.steps(let values, _), .steps):
            precondition(values.count == rows * inputShape.count, "samples are not \(inputShape)")
            base = values.base
        case (.tokens(let tokens, _), .tokens(let vocabulary, _)):
            precondition(tokens.count == rows, "\(tokens.count) tokens for sequences of \(rows)")
            // The caller's vocabulary is the model's: a number beyond it would read foreign memory.
            precondition(
                tokens.buffer.allSatisfy { $0 >= 0 && $0 < vocabulary }, "a token is not below \(vocabulary)")
            base = UnsafeMutableRawPointer(tokens.base).assumingMemoryBound(to: Float.self)
        default: preconditionFailure("these samples are not what the model reads: \(input)")
        }
        precondition(
            samples.labels.count == (returnsSequences ? rows : samples.count), "the labels are not one a row")
        for run in pass.runs {
            run.input = base
            run.sequences = sequences
            run.carriedState = carriedStateCount > 0 ? CarriedState(state, count: carriedStateCount) : nil
            run.labels = UnsafePointer(samples.labels.base)
            run.mixing = samples.mixing.map { (UnsafePointer($0.partnerLabels.base), UnsafePointer($0.weights.base)) }
            run.rows = samples.count
            run.firstPosition = samples.firstPosition
            run.step = samples.step
            run.seed = samples.seed
        }
    }

    private func lossSum(_ plan: Plan) -> LossSum {
        let loss = run.pointer(plan.lossPlace!)
        var sum = 0.0
        let rows = run.rows(plan.lossPlace!)
        for row in 0..<rows { sum += Double(loss[row]) }
        return LossSum(sum: sum, denominator: Double(rows * plan.graph.lossDenominatorPerSample))
    }

    /// Multiply-adds of one sample's forward pass.
    public var multiplyAdds: Int { evaluationGraph.multiplyAdds }

    /// The operations of the plan that trains, in the order of the forward pass: fused, and without those that nothing needs.
    public var operations: [PlannedOperation] { training?.operations ?? [] }

    /// Whether any layer's products are in bf16 while it trains.
    public var multipliesBF16: Bool { operations.contains(where: \.multipliesBF16) }

    /// What all operations of a step have to do: forward, weight gradients, and those input gradients that are needed (none with
    /// respect to the samples).
    public var stepCost: PassCost { training?.cost ?? PassCost() }
}
