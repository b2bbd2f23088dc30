import DTrainOptimizers
import DTrainTensor
import TestSupport
import Testing

/// Three weights, the last one of zeros, and a bias, started and pulled by the numbers of `Fixtures/generate.py`.
private struct LayeredProblem {
    static let sizes = [11, 7, 5, 3]
    let layout = ParameterLayout(
        trainable: [
            ("a", [11, 1], .plain), ("b", [1, 7], .plain), ("zeros", [5, 1, 1, 1], .plain), ("bias", [3], .plain),
        ], frozen: [("frozen", [4, 4], .plain)])
    let memory: AlignedMemory
    let gradientMemory: AlignedMemory
    var parameters: MemorySlice<Float> { memory.slice() }
    var gradients: MemorySlice<Float> { gradientMemory.slice() }

    init() {
        memory = AlignedMemory(byteCount: layout.totalCount * 4)
        gradientMemory = AlignedMemory(byteCount: layout.trainableCount * 4)
        for (k, segment) in layout.segments.enumerated() where k != 2 {
            for i in 0..<segment.range.count {
                parameters[segment.range.lowerBound + i] = Float(i * 37 % 101 - 50) / 64 * Float(1 + 3 * k)
            }
        }
    }

    /// Ten updates; returns the values of all trainable parameters, without padding.
    func run(
        _ configuration: OptimizerConfiguration, decay: DecayScope = .all, rateFactor: Double = 1, threads: Int = 1
    ) throws -> [Float] {
        let optimizer = try Optimizer(configuration, decay: decay, layout: layout)
        let pool = ThreadPool(threadCount: threads)
        let frozen = parameters.array()[layout.trainableCount...]
        for step in 0..<10 {
            for (k, segment) in layout.segments.dropLast().enumerated() {
                for i in 0..<segment.range.count {
                    gradients[segment.range.lowerBound + i] = Float((i * 53 + step * 29 + 17 * k) % 97) / 8 - 6
                }
            }
            optimizer.update(
                parameters: parameters, gradients: gradients, rate: rateFactor * 0.05 / (1 + 0.5 * Double(step)),
                gradientScale: 1.0 / 12, step: step, pool: pool)
        }
        #expect(parameters.array()[layout.trainableCount...] == frozen)
        let values = parameters.array()
        let used = Set(layout.segments.flatMap(\.range))
        #expect(values.indices.allSatisfy { used.contains($0) || values[$0] == 0 }, "padding stays zero")
        return layout.segments.dropLast().flatMap { values[$0.range] }
    }
}

/// LARS and LAMB against their formulas in double precision, and which parameters decay applies to.
@Suite struct LayerwiseTests {
    @Test(arguments: [
        (
            OptimizerConfiguration.lars(momentum: 0.8, trustCoefficient: 0.02, epsilon: 1e-3, weightDecay: 0.03),
            DecayScope.all, PyTorchLiterals.lars
        ),
        (
            .lars(momentum: 0.8, nesterov: true, trustCoefficient: 0.02, epsilon: 1e-3, weightDecay: 0.03), .weights,
            PyTorchLiterals.larsNesterov
        ),
        (.lars(momentum: 0, trustCoefficient: 0.02, epsilon: 1e-3, weightDecay: 0.03), .all, PyTorchLiterals.larsPlain),
        (.lars(), .all, PyTorchLiterals.larsDefaults),
    ]) func larsEqualsItsFormula(_ configuration: OptimizerConfiguration, _ decay: DecayScope, _ expected: [Float])
        throws
    {
        let values = try LayeredProblem().run(configuration, decay: decay, rateFactor: 20)
        expectClose(values, expected, tolerance: 1e-6, "\(configuration)")
    }

    @Test(arguments: [
        (
            OptimizerConfiguration.lamb(beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weightDecay: 0.3), DecayScope.all,
            PyTorchLiterals.lamb
        ),
        (.lamb(beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weightDecay: 0.3), .weights, PyTorchLiterals.lambWeights),
        (.lamb(), .all, PyTorchLiterals.lambDefaults),
    ]) func lambEqualsItsFormula(_ configuration: OptimizerConfiguration, _ decay: DecayScope, _ expected: [Float])
        throws
    {
        expectClose(
            try LayeredProblem().run(configuration, decay: decay), expected, tolerance: 1e-6, "\(configuration)")
    }

    @Test(arguments: OptimizerTests.layerwise) func threadsGiveTheSameBits(configuration: OptimizerConfiguration) throws
    {
        let expected = try LayeredProblem().run(configuration)
        for threads in [2, 3, 5] { #expect(try LayeredProblem().run(configuration, threads: threads) == expected) }
    }

    /// Without gradients only decay moves a parameter.
    @Test(
        arguments: OptimizerTests.layerwise + [
            .sgd(weightDecay: 0.5), .sgd(momentum: 0.5, weightDecay: 0.5), .adam(weightDecay: 0.5),
            .adamW(weightDecay: 0.5), .rmsProp(weightDecay: 0.5), .adagrad(weightDecay: 0.5),
        ])
    func decayOfWeightsLeavesOthersAlone(configuration: OptimizerConfiguration) throws {
        let layout = ParameterLayout(trainable: [
            ("bias1", [3], .plain), ("weight1", [2, 2], .plain), ("scale", [20], .plain), ("shift", [20], .plain),
            ("weight2", [2, 1, 3, 3], .plain), ("bias2", [1], .plain),
        ])
        func moved(_ decay: DecayScope) throws -> Set<String> {
            let memory = AlignedMemory(byteCount: layout.trainableCount * 4)
            let gradients = AlignedMemory(byteCount: layout.trainableCount * 4)
            for i in layout.segments.flatMap(\.range) { memory.slice(of: Float.self)[i] = 0.5 }
            let optimizer = try Optimizer(configuration, decay: decay, layout: layout)
            optimizer.update(
                parameters: memory.slice(), gradients: gradients.slice(), rate: 0.1, gradientScale: 1, step: 0,
                pool: ThreadPool(threadCount: 2))
            let values = memory.slice(of: Float.self).array()
            let segments = layout.segments.filter { $0.range.allSatisfy { values[$0] < 0.5 } }
            #expect(values.filter { $0 < 0.5 && $0 != 0 }.count == segments.reduce(0) { $0 + $1.range.count })
            return Set(segments.map(\.name))
        }
        #expect(try moved(.weights) == ["weight1", "weight2"])
        #expect(try moved(.all) == Set(layout.segments.map(\.name)))
    }

    @Test func aGradientThatIsNoNumberIsNotHidden() throws {
        for configuration in OptimizerTests.layerwise {
            let layout = ParameterLayout(trainable: [("a", [2, 2], .plain)])
            let memory = AlignedMemory(byteCount: 64)
            let gradients = AlignedMemory(byteCount: 64)
            memory.slice(of: Float.self)[0..<4].fill(1)
            gradients.slice(of: Float.self)[2] = .nan
            let optimizer = try Optimizer(configuration, layout: layout)
            optimizer.update(
                parameters: memory.slice(), gradients: gradients.slice(), rate: 0.1, gradientScale: 1, step: 0,
                pool: ThreadPool(threadCount: 1))
            #expect(memory.slice(of: Float.self).array()[0..<4].allSatisfy { $0.isNaN })
        }
    }

    /// Equal gradients make the centred variance a difference of equal numbers: it never becomes the root of less than 0.
    @Test func centredVarianceIsNeverNegative() throws {
        let layout = ParameterLayout(trainable: [("a", [400], .plain)])
        let memory = AlignedMemory(byteCount: layout.trainableCount * 4)
        let gradients = AlignedMemory(byteCount: layout.trainableCount * 4)
        for i in 0..<400 { gradients.slice(of: Float.self)[i] = 0.1 + Float(i) / 300 }
        let optimizer = try Optimizer(.rmsProp(alpha: 0.5, centered: true), layout: layout)
        for step in 0..<60 {
            optimizer.update(
                0..<400, parameters: memory.slice(), gradients: gradients.slice(), rate: 1e-6, gradientScale: 1,
                step: step)
        }
        #expect(memory.slice(of: Float.self).array().allSatisfy { $0.isFinite })
    }
}
