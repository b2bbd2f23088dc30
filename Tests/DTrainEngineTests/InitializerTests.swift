import DTrainLayers
import DTrainTensor
import Testing

/// First values: the distributions that PyTorch's functions of the same names document, from seed and name alone.
@Suite struct InitializerTests {
    private static let shape: Shape = [40, 30, 5, 4]  // fan in 600, fan out 800
    private static let count = 24_000.0

    private func values(_ initializer: Initializer, name: String = "w", seed: UInt64 = 1) -> [Double] {
        let value = initializer.values(name: name, shape: Self.shape, seed: seed)
        return (0..<Self.shape.count).map { Double(value($0)) }
    }

    private func moments(_ values: [Double]) -> (mean: Double, deviation: Double) {
        let mean = values.reduce(0, +) / Double(values.count)
        return (mean, (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)).squareRoot())
    }

    private struct Case: Sendable {
        let initializer: Initializer
        let mean: Double
        /// The bound of a uniform distribution, the deviation of a normal one.
        let spread: Double

        init(_ initializer: Initializer, mean: Double = 0, _ spread: Double) {
            self.initializer = initializer
            self.mean = mean
            self.spread = spread
        }

        /// √(square).
        init(_ initializer: Initializer, rootOf square: Double) { self.init(initializer, square.squareRoot()) }
    }

    /// Bounds as PyTorch computes them: `gain · √3 / √fan` for Kaiming, `gain · √(6 / (fan in + fan out))` for Xavier.
    private static let uniform = [
        Case(.standardWeight, rootOf: 1.0 / 600), Case(.standardBias(fanIn: 600), rootOf: 1.0 / 600),
        Case(.kaimingUniform(), rootOf: 6.0 / 600), Case(.kaimingUniform(slope: 0.5, fan: .output), rootOf: 6.0 / 1000),
        Case(.xavierUniform(), rootOf: 6.0 / 1400), Case(.xavierUniform(gain: 1.5), rootOf: 2.25 * 6 / 1400),
        Case(.uniform(lower: -0.25, upper: 0.25), 0.25),
    ]

    private static let normal = [
        Case(.kaimingNormal(), rootOf: 2.0 / 600), Case(.kaimingNormal(slope: 0.5, fan: .output), rootOf: 2.0 / 1000),
        Case(.xavierNormal(gain: 2), rootOf: 4 * 2.0 / 1400),
        Case(.normal(mean: 3, standardDeviation: 0.5), mean: 3, 0.5),
    ]

    @Test(arguments: uniform.indices)
    func uniformCoversItsRange(_ index: Int) {
        let bound = Self.uniform[index].spread
        let values = values(Self.uniform[index].initializer)
        #expect(values.allSatisfy { abs($0) <= bound * (1 + 1e-6) })
        #expect(values.max()! > 0.999 * bound && values.min()! < -0.999 * bound)
        let (mean, deviation) = moments(values)
        // Five standard errors; a uniform distribution deviates by bound / √3.
        #expect(abs(mean) < 5 * bound / (3 * Self.count).squareRoot())
        #expect(abs(deviation / bound * 3.0.squareRoot() - 1) < 0.02)
    }

    @Test(arguments: normal.indices)
    func normalHasItsMoments(_ index: Int) {
        let (expectedMean, expected) = (Self.normal[index].mean, Self.normal[index].spread)
        let values = values(Self.normal[index].initializer)
        let (mean, deviation) = moments(values)
        #expect(abs(mean - expectedMean) < 5 * expected / Self.count.squareRoot())
        #expect(abs(deviation / expected - 1) < 0.025)
        // 68.27 % of a normal distribution lie within one deviation, 99.73 % within three.
        let within = values.filter { abs($0 - expectedMean) < expected }.count
        #expect(abs(Double(within) / Self.count - 0.6827) < 0.016)
        #expect(Double(values.filter { abs($0 - expectedMean) < 3 * expected }.count) / Self.count > 0.996)
    }

    /// What is left of a standard normal distribution between −0.5 and 1.5: mean (φ(−0.5) − φ(1.5)) / Z, variance
    /// 1 − (0.5 φ(−0.5) + 1.5 φ(1.5)) / Z − mean², with Z = Φ(1.5) − Φ(−0.5); then times 2, plus 3.
    @Test func truncatedNormalStaysWithinItsBounds() {
        let values = values(.truncatedNormal(mean: 3, standardDeviation: 2, lower: 2, upper: 6))
        #expect(values.allSatisfy { 2...6 ~= $0 })
        let (mean, deviation) = moments(values)
        #expect(abs(mean - 3.712546) < 5 * 1.058769 / Self.count.squareRoot())
        #expect(abs(deviation / 1.058769 - 1) < 0.02)
        // Far bounds change nothing.
        #expect(
            self.values(.truncatedNormal(mean: 3, standardDeviation: 0.5, lower: -20, upper: 20))
                == self.values(.normal(mean: 3, standardDeviation: 0.5)))
    }

    @Test func constantIsConstant() { #expect(values(.constant(0.5)).allSatisfy { $0 == 0.5 }) }

    @Test func valuesDependOnSeedAndName() {
        let first = values(.kaimingNormal())
        #expect(values(.kaimingNormal()) == first)
        #expect(values(.kaimingNormal(), name: "v") != first)
        #expect(values(.kaimingNormal(), seed: 2) != first)
    }

    /// Layers use PyTorch's default for weights and biases: uniform in ±1/√fan-in, for a bias the fan-in of its weight.
    @Test func layersStartLikePyTorch() throws {
        final class Layers: Module {
            let conv = Conv2d(64, kernel: 3, groups: 2)
            let fc = Linear(100)
            func callAsFunction(_ x: Value) -> Value { fc(flatten(conv(x))) }
        }
        let replica = try TestReplica(Layers(), input: [3, 3, 8], capacity: 1, threads: 1)
        for (name, fanIn) in [("conv.weight", 36.0), ("conv.bias", 36), ("fc.weight", 64), ("fc.bias", 64)] {
            let values = replica[name].values
            let bound = 1 / fanIn.squareRoot()
            #expect(values.allSatisfy { abs($0) <= bound * (1 + 1e-6) })
            #expect(values.max()! > 0.9 * bound && values.min()! < -0.9 * bound, "\(name) does not fill ±\(bound)")
        }
    }
}
