import DTrainOptimizers
import DTrainTensor
import TestSupport
import Testing

@Suite struct OptimizerTests {
    static let configurations: [OptimizerConfiguration] = [
        .sgd(weightDecay: 0.03), .sgd(momentum: 0.8, weightDecay: 0.03),
        .sgd(momentum: 0.8, nesterov: true, weightDecay: 0.03),
        .adam(beta1: 0.8, beta2: 0.95, epsilon: 1e-5, weightDecay: 0.03),
        .adamW(beta1: 0.8, beta2: 0.95, epsilon: 1e-5, weightDecay: 0.3), .adam(), .adamW(),
        .rmsProp(alpha: 0.9, epsilon: 1e-4, weightDecay: 0.03),
        .rmsProp(alpha: 0.9, epsilon: 1e-4, momentum: 0.6, weightDecay: 0.03),
        .rmsProp(alpha: 0.9, epsilon: 1e-3, centered: true, weightDecay: 0.03),
        .rmsProp(alpha: 0.8, epsilon: 1e-3, momentum: 0.5, centered: true, weightDecay: 0.03), .rmsProp(),
        .adagrad(rateDecay: 0.1, initialAccumulator: 0.2, epsilon: 1e-4, weightDecay: 0.03), .adagrad(),
    ]
    /// Rules that PyTorch does not have; `LayerwiseTests` compares them.
    static let layerwise: [OptimizerConfiguration] = [
        .lars(momentum: 0.8, trustCoefficient: 0.02, epsilon: 1e-3, weightDecay: 0.03),
        .lamb(beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weightDecay: 0.3),
    ]

    @Test(
        arguments: zip(
            configurations,
            [
                PyTorchLiterals.sgd, PyTorchLiterals.momentum, PyTorchLiterals.nesterov, PyTorchLiterals.adam,
                PyTorchLiterals.adamW, PyTorchLiterals.adamDefaults, PyTorchLiterals.adamWDefaults,
                PyTorchLiterals.rmsProp, PyTorchLiterals.rmsPropMomentum, PyTorchLiterals.rmsPropCentered,
                PyTorchLiterals.rmsPropEverything, PyTorchLiterals.rmsPropDefaults, PyTorchLiterals.adagrad,
                PyTorchLiterals.adagradDefaults,
            ])) func tenUpdatesEqualPyTorchs(configuration: OptimizerConfiguration, expected: [Float]) throws
    {
        let problem = Problem()
        _ = try problem.run(configuration)
        expectClose(problem.values, expected, tolerance: 1e-6, "\(configuration)")
        #expect(problem.parameters.array()[Problem.count...].allSatisfy { $0 == 0 }, "padding stays zero")
    }

    @Test(arguments: [
        (configurations[1], ["p.momentum_buffer": PyTorchLiterals.momentumMomentumBuffer]),
        (configurations[2], ["p.momentum_buffer": PyTorchLiterals.nesterovMomentumBuffer]),
        (configurations[3], ["p.exp_avg": PyTorchLiterals.adamExpAvg, "p.exp_avg_sq": PyTorchLiterals.adamExpAvgSq]),
        (configurations[4], ["p.exp_avg": PyTorchLiterals.adamWExpAvg, "p.exp_avg_sq": PyTorchLiterals.adamWExpAvgSq]),
        (
            configurations[10],
            [
                "p.square_avg": PyTorchLiterals.rmsPropEverythingSquareAvg,
                "p.grad_avg": PyTorchLiterals.rmsPropEverythingGradAvg,
                "p.momentum_buffer": PyTorchLiterals.rmsPropEverythingMomentumBuffer,
            ]
        ),
        (
            configurations[8],
            [
                "p.square_avg": PyTorchLiterals.rmsPropMomentumSquareAvg,
                "p.momentum_buffer": PyTorchLiterals.rmsPropMomentumMomentumBuffer,
            ]
        ),
        (configurations[12], ["p.sum": PyTorchLiterals.adagradSum]),
    ]) func stateHasPyTorchsNamesAndValues(_ configuration: OptimizerConfiguration, _ expected: [String: [Float]])
        throws
    {
        let tensors = try Problem().run(configuration).stateTensors(step: 10)
        #expect(Set(tensors.map(\.name)) == Set(expected.keys).union(["step"]))
        for tensor in tensors where tensor.name != "step" {
            expectClose(tensor.floats.array(), expected[tensor.name]!, tolerance: 1e-6, tensor.name)
        }
    }

    @Test(arguments: configurations + layerwise, [nil, WeightAveraging(decay: 0.9)]) func anySplitGivesTheSameBits(
        configuration: OptimizerConfiguration, averaging: WeightAveraging?
    ) throws {
        let layout = ParameterLayout(
            trainable: [("a", [17, 59], .plain), ("b", [77], .plain), ("c", [900, 11], .plain)])
        let gradients = AlignedMemory(byteCount: layout.trainableCount * 4)
        let start = AlignedMemory(byteCount: layout.trainableCount * 4)
        let random = CounterRandom(seed: 5, purpose: .synthetic)
        for i in layout.segments.flatMap(\.range) {
            gradients.slice(of: Float.self)[i] = random.uniform(UInt64(2 * i)) - 0.5
            start.slice(of: Float.self)[i] = random.uniform(UInt64(2 * i + 1)) - 0.5
        }
        func run(_ ranges: [Range<Int>]?, threads: Int = 1) throws -> [Float] {
            let memory = AlignedMemory(byteCount: layout.trainableCount * 4)
            let parameters: MemorySlice<Float> = memory.slice()
            parameters.copy(from: start.slice())
            let optimizer = try Optimizer(
                configuration, decay: .weights, averaging: averaging, layout: layout)
            let pool = ThreadPool(threadCount: threads)
            for step in 0..<3 {
                if let ranges {
                    optimizer.measureTrust(
                        parameters: parameters, gradients: gradients.slice(), gradientScale: 0.3, step: step, pool: pool
                    )
                    for range in ranges {
                        optimizer.update(
                            range, parameters: parameters, gradients: gradients.slice(), rate: 0.01,
                            gradientScale: 0.3, step: step)
                    }
                } else {
                    optimizer.update(
                        parameters: parameters, gradients: gradients.slice(), rate: 0.01, gradientScale: 0.3,
                        step: step, pool: pool)
                }
            }
            let state = optimizer.stateTensors(step: 3).filter { $0.dtype == .float32 }.flatMap { $0.floats.array() }
            return parameters.array() + state
        }
        let whole = try run([0..<layout.trainableCount])
        #expect(whole[0] != start.slice(of: Float.self)[0])
        #expect(try run([517..<layout.trainableCount, 0..<1, 1..<8, 8..<517]) == whole)
        #expect(try run((0..<layout.trainableCount).map { $0..<$0 + 1 }) == whole)
        #expect(try run(nil, threads: 3) == whole)
        #expect(try run([1000..<9000, 9000..<layout.trainableCount, 0..<1000], threads: 2) == whole)
    }

    @Test(arguments: configurations + layerwise) func stateMovesToAnotherLayoutByName(
        configuration: OptimizerConfiguration
    ) throws {
        let weight = (name: "conv.weight", shape: Shape([2, 3, 2, 2]), order: StorageOrder.plain)
        let bias = (name: "conv.bias", shape: Shape([2]), order: StorageOrder.plain)
        var permuted = weight
        permuted.order = .convolution(outputs: 2, inputs: 3, height: 2, width: 2)
        let layout = ParameterLayout(trainable: [bias, weight], frozen: [("frozen", [5], .plain)])
        let other = ParameterLayout(trainable: [permuted, bias])
        let averaging = WeightAveraging(decay: 0.5)
        let optimizer = try Optimizer(configuration, averaging: averaging, layout: layout)
        let memory = AlignedMemory(byteCount: layout.totalCount * 4)
        let gradients = AlignedMemory(byteCount: layout.trainableCount * 4)
        for segment in layout.segments.dropLast() {
            for i in segment.range { gradients.slice(of: Float.self)[i] = Float(i + 1) }
        }
        optimizer.update(
            parameters: memory.slice(), gradients: gradients.slice(), rate: 1, gradientScale: 1, step: 0,
            pool: ThreadPool(threadCount: 1))
        let moved = try Optimizer(configuration, averaging: averaging, layout: other)
        #expect(try moved.load(optimizer.stateTensors(step: 1)) == 1)
        let values = { (optimizer: Optimizer) in
            Dictionary(
                uniqueKeysWithValues: optimizer.stateTensors(step: 1).map {
                    ($0.name, Array($0.memory.slice(of: UInt8.self).array()[0..<$0.byteCount]))
                })
        }
        #expect(values(moved) == values(optimizer))
        let states = values(optimizer).filter { $0.key != "step" }
        #expect(states.values.allSatisfy { $0.contains { $0 != 0 } })
        #expect(states.count == 2 * (configuration.stateNames.count + 1))
    }

    @Test func stateOfAnotherRuleIsRefusedAndListed() throws {
        let layout = ParameterLayout(trainable: [("a", [3], .plain)])
        let momentum = try Optimizer(.sgd(momentum: 0.9), layout: layout)
        let adam = try Optimizer(.adam(), layout: layout)
        let error = #expect(throws: TensorMismatch.self) { try adam.load(momentum.stateTensors(step: 4)) }
        #expect(error?.missing == ["a.exp_avg", "a.exp_avg_sq"])
        #expect(error?.unexpected == ["a.momentum_buffer"])
        let unstepped = adam.stateTensors(step: 4).filter { $0.name != "step" }
        #expect(throws: TensorMismatch(expected: [("step", [], .int64)], found: [])) { try adam.load(unstepped) }
    }

    @Test func clippedUpdatesEqualPyTorchs() throws {
        let problem = Problem()
        let optimizer = try Optimizer(.sgd(momentum: 0.8, weightDecay: 0.03), layout: problem.layout)
        let norm = GradientNorm(count: problem.layout.trainableCount)
        let pool = ThreadPool(threadCount: 2)
        var norms: [Float] = []
        for step in 0..<10 {
            problem.setGradients(step)
            let value = norm.norm(of: problem.gradients, scale: 1 / Problem.samples, pool: pool)
            norms.append(Float(value))
            optimizer.update(
                parameters: problem.parameters, gradients: problem.gradients, rate: problem.rate(step),
                gradientScale: GradientNorm.clipFactor(norm: value, limit: 1.5) / Problem.samples, step: step,
                pool: pool)
        }
        expectClose(norms, PyTorchLiterals.norms, tolerance: 1e-6, "norms")
        expectClose(problem.values, PyTorchLiterals.clipped, tolerance: 1e-6, "parameters")
    }

    @Test(arguments: [
        OptimizerConfiguration.sgd(momentum: 1), .sgd(momentum: -0.1), .sgd(nesterov: true), .sgd(weightDecay: -1),
        .sgd(weightDecay: .nan), .adam(beta1: 1), .adam(beta2: 1.5), .adam(epsilon: 0), .adamW(beta1: .nan),
        .adamW(weightDecay: .infinity), .rmsProp(alpha: 1), .rmsProp(epsilon: 0), .rmsProp(momentum: 1),
        .rmsProp(weightDecay: -1), .adagrad(rateDecay: -0.1), .adagrad(initialAccumulator: .nan), .adagrad(epsilon: 0),
        .lars(momentum: 0, nesterov: true), .lars(trustCoefficient: 0), .lars(epsilon: 0), .lars(weightDecay: -1),
        .lamb(beta1: 1), .lamb(epsilon: 0), .lamb(weightDecay: .nan),
    ]) func impossibleHyperParametersAreRefused(configuration: OptimizerConfiguration) {
        let layout = ParameterLayout(trainable: [("a", [1], .plain)])
        #expect(throws: OptimizerConfigurationError.self) { try Optimizer(configuration, layout: layout) }
    }
}
