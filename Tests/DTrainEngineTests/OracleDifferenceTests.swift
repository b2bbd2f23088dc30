import Testing

/// The oracles' gradients against finite differences of their own forward passes, in settings other than PyTorch's cases.
@Suite struct OracleDifferenceTests {
    private let tolerance = 1e-7

    @Test func convolution() {
        let oracle = ConvolutionOracle(stride: (3, 1), padding: (2, 1), dilation: (2, 3), groups: 3)
        let x = ReferenceTensor.random([2, 7, 8, 6], seed: 1)
        let weight = ReferenceTensor.random([3, 2, 2, 3], seed: 2)
        let bias = ReferenceTensor.random([3], seed: 3)
        let gradient = ReferenceTensor.random(oracle.outputShape(x, weight), seed: 4)
        let expected = oracle.gradients(x, weight: weight, outputGradient: gradient)
        let numerical = (
            x: numericalGradient(at: x) { oracle.forward($0, weight: weight, bias: bias).dot(gradient) },
            weight: numericalGradient(at: weight) { oracle.forward(x, weight: $0, bias: bias).dot(gradient) },
            bias: numericalGradient(at: bias) { oracle.forward(x, weight: weight, bias: $0).dot(gradient) }
        )
        expectClose(expected.x, numerical.x, tolerance: tolerance, "dx")
        expectClose(expected.weight, numerical.weight, tolerance: tolerance, "dweight")
        expectClose(expected.bias, numerical.bias, tolerance: tolerance, "dbias")
    }

    @Test func linear() {
        let x = ReferenceTensor.random([3, 7], seed: 1)
        let weight = ReferenceTensor.random([2, 7], seed: 2)
        let gradient = ReferenceTensor.random([3, 2], seed: 3)
        let expected = LinearOracle.gradients(x, weight: weight, outputGradient: gradient)
        let dx = numericalGradient(at: x) { LinearOracle.forward($0, weight: weight, bias: nil).dot(gradient) }
        let dWeight = numericalGradient(at: weight) { LinearOracle.forward(x, weight: $0, bias: nil).dot(gradient) }
        expectClose(expected.x, dx, tolerance: tolerance, "dx")
        expectClose(expected.weight, dWeight, tolerance: tolerance, "dweight")
    }

    @Test func pooling() {
        let oracle = PoolingOracle(kernel: (2, 3), stride: (1, 2), padding: (1, 1))
        let x = ReferenceTensor.random([1, 5, 6, 3], seed: 5)
        let gradient = ReferenceTensor.random(oracle.outputShape(x), seed: 6)
        let maximum = numericalGradient(at: x) { oracle.maximum($0).dot(gradient) }
        let average = numericalGradient(at: x) { oracle.average($0).dot(gradient) }
        expectClose(oracle.maximumGradient(x, outputGradient: gradient), maximum, tolerance: tolerance, "max dx")
        expectClose(oracle.averageGradient(x, outputGradient: gradient), average, tolerance: tolerance, "average dx")
    }

    @Test func activations() {
        // A thousandth away from zero at least, where ReLU has a derivative.
        let x = ReferenceTensor.random([4, 9], seed: 7, in: -3...3).map { abs($0) < 1e-3 ? 0.5 : $0 }
        let gradient = ReferenceTensor.random([4, 9], seed: 8)
        let oracles: [(String, ElementwiseOracle)] = [
            ("relu", .relu), ("leaky", .leakyReLU(slope: 0.3)), ("tanh", .tanh), ("sigmoid", .sigmoid),
        ]
        for (name, oracle) in oracles {
            let numerical = numericalGradient(at: x) { oracle.forward($0).dot(gradient) }
            expectClose(oracle.gradient(x, outputGradient: gradient), numerical, tolerance: tolerance, name)
        }
    }

    @Test func losses() {
        let x = ReferenceTensor.random([4, 6], seed: 9, in: -4...4)
        let oracle = CrossEntropyOracle(smoothing: 0.2)
        let numerical = numericalGradient(at: x) { oracle.forward($0, labels: [5, 0, 3, 3]) }
        expectClose(oracle.gradient(x, labels: [5, 0, 3, 3]), numerical, tolerance: tolerance, "cross-entropy")
        let target = ReferenceTensor.random([4, 6], seed: 10)
        let squared = numericalGradient(at: x) { SquaredErrorOracle.forward($0, target: target) }
        expectClose(SquaredErrorOracle.gradient(x, target: target), squared, tolerance: tolerance, "squared error")
    }
}
