import DTrainEngine
import DTrainLayers
import DTrainTensor
import Testing

/// Transposed convolutions against the naive oracle: outputs and the gradients of input, weight and bias.
@Suite struct TransposedConvolutionTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var image: [Int]
        var outputs: Int
        var kernel: (Int, Int)
        var stride = (1, 1)
        var padding = (0, 0)
        var outputPadding = (0, 0)
        var dilation = (1, 1)
        var groups = 1
        var bias = true
        var rows = 2

        var testDescription: String {
            "\(rows)×\(image) to \(outputs), kernel \(kernel), stride \(stride), padding \(padding), "
                + "output padding \(outputPadding), dilation \(dilation), groups \(groups)\(bias ? "" : ", no bias")"
        }
    }

    static let cases = [
        Case(image: [4, 5, 3], outputs: 4, kernel: (3, 2), stride: (2, 3), padding: (1, 0), outputPadding: (1, 2)),
        Case(image: [5, 4, 6], outputs: 3, kernel: (3, 3), padding: (1, 1), rows: 3),
        Case(image: [3, 4, 4], outputs: 6, kernel: (2, 3), stride: (2, 1), dilation: (1, 2), groups: 2, rows: 1),
        Case(image: [4, 3, 5], outputs: 5, kernel: (3, 3), stride: (2, 2), padding: (1, 1), groups: 5, rows: 3),
        Case(image: [2, 3, 8], outputs: 16, kernel: (2, 2), stride: (2, 2), bias: false),
        Case(image: [4, 4, 3], outputs: 7, kernel: (1, 1), rows: 1),
        Case(image: [1, 1, 9], outputs: 4, kernel: (4, 4), rows: 3),
        // Output padding beyond the stride, below the dilation: lines that no window reaches.
        Case(image: [3, 4, 2], outputs: 3, kernel: (2, 2), outputPadding: (2, 1), dilation: (3, 2)),
        Case(image: [5, 6, 2], outputs: 2, kernel: (2, 2), padding: (2, 1), rows: 1),
        Case(image: [7, 7, 16], outputs: 24, kernel: (4, 4), stride: (2, 2), padding: (1, 1)),
        // All three products by minimal filtering, and by oneDNN.
        Case(image: [6, 6, 32], outputs: 32, kernel: (3, 3), padding: (1, 1)),
        Case(image: [5, 5, 40], outputs: 48, kernel: (4, 4), stride: (2, 2), padding: (1, 1)),
    ]

    @Test(arguments: cases, 1...3)
    func matchesOracle(_ setting: Case, threads: Int) throws { try check(setting, threads: threads) }

    @Test(arguments: cases, [ConvolutionMethod.oneDNN, .unfolded])
    func matchesOracleByEachProvider(_ setting: Case, _ method: ConvolutionMethod) throws {
        try ConvolutionMethod.$ofModels.withValue(method) { try check(setting, threads: 1) }
    }

    private func check(_ setting: Case, threads: Int) throws {
        let oracle = TransposedConvolutionOracle(
            stride: setting.stride, padding: setting.padding, outputPadding: setting.outputPadding,
            dilation: setting.dilation, groups: setting.groups)
        let weight = ReferenceTensor.random(
            [setting.image[2], setting.outputs / setting.groups, setting.kernel.0, setting.kernel.1], seed: 21)
        let bias = setting.bias ? ReferenceTensor.random([setting.outputs], seed: 22) : nil
        let layer = ConvTranspose2d(
            setting.outputs, kernel: Pair(setting.kernel.0, setting.kernel.1),
            stride: Pair(setting.stride.0, setting.stride.1), padding: Pair(setting.padding.0, setting.padding.1),
            outputPadding: Pair(setting.outputPadding.0, setting.outputPadding.1),
            dilation: Pair(setting.dilation.0, setting.dilation.1), groups: setting.groups, bias: setting.bias)
        let parameters = bias.map { ["weight": weight, "bias": $0] } ?? ["weight": weight]
        for uses in 1...2 {
            // Called twice: the gradients of input and parameters are added.
            try OperationCheck(
                inputs: [setting.image], layer: layer, parameters: parameters, rows: setting.rows, threads: threads,
                apply: { x in uses == 1 ? layer(x[0]) : layer(x[0]) + layer(x[0]) },
                forward: { x in oracle.forward(x[0], weight: weight, bias: bias).map { Double(uses) * $0 } },
                gradients: { x, dy in
                    let result = oracle.gradients(
                        x[0], weight: weight, outputGradient: dy.map { Double(uses) * $0 })
                    return (
                        [result.x],
                        bias == nil ? ["weight": result.weight] : ["weight": result.weight, "bias": result.bias]
                    )
                }
            ).run("\(setting.testDescription), \(uses) times")
        }
    }

    /// Outputs, the gradient of the weight, and that of a layer before, which is made of the input's gradient: by minimal filtering
    /// and by oneDNN.
    @Test(.enabled(if: Precision.bf16.obstacle == nil), arguments: [(3, 1), (4, 2)])
    func bf16DiffersByRoundingAlone(kernel: Int, stride: Int) throws {
        final class Model: Module {
            let stem = Conv2d(32, kernel: 1)
            let up: ConvTranspose2d
            init(kernel: Int, stride: Int) {
                up = ConvTranspose2d(
                    32, kernel: Pair(kernel, kernel), stride: Pair(stride, stride), padding: Pair(1, 1))
            }
            func callAsFunction(_ x: Value) -> Value { flatten(up(stem(x))) }
        }
        func step(_ precision: Precision) throws -> TestReplica {
            let replica = try TestReplica(
                Model(kernel: kernel, stride: stride), reading: .values([6, 6, 16]), capacity: 3, threads: 2,
                precision: precision)
            replica.step(ReferenceTensor.random([3, 6, 6, 16], seed: 3), labels: [0, 700, 5])
            return replica
        }
        let (exact, rounded) = (try step(.fp32), try step(.bf16))
        let isRounded = kernel == 3 || OneDNN.version != nil
        #expect(
            rounded.replica.operations.contains { $0.operation == "transposedConvolution" && $0.multipliesBF16 }
                == isRounded)
        for (name, values, expected) in [
            ("output", rounded.outputs.map(Double.init), exact.outputs.map(Double.init)),
            ("up.weight", rounded.gradient("up.weight").values, exact.gradient("up.weight").values),
            ("stem.weight", rounded.gradient("stem.weight").values, exact.gradient("stem.weight").values),
        ] {
            let difference = zip(values, expected).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
            let error = (difference / expected.reduce(0) { $0 + $1 * $1 }).squareRoot()
            #expect((error > 0 || !isRounded) && error < 0.02, "\(name): \(error)")
        }
    }

    /// Products read whole vectors. The samples may be the caller's memory, and where it ends nothing more is read.
    @Test(arguments: [
        [1, 4, 4, 3], [3, 4, 4, 1], [2, 4, 4, 6], [1, 16, 1, 1], [16, 1, 1, 1], [2, 2, 4, 17], [1, 4, 4, 16],
    ]) func nothingBehindTheSamplesIsRead(samples: [Int]) throws {
        final class Model: Module {
            let up = ConvTranspose2d(4, kernel: Pair(3, 2))
            func callAsFunction(_ x: Value) -> Value { flatten(up(x)) }
        }
        let rows = samples[0]
        let values = ReferenceTensor.random(samples, seed: 5)
        let labels = (0..<rows).map { $0 % 4 }
        for threads in 1...2 {
            let replica = try TestReplica(Model(), input: Array(samples.dropFirst()), capacity: rows, threads: threads)
            replica.step(values, labels: labels)
            let expected = replica.gradient("up.weight")
            let memory = GuardedMemory(values.floats)
            let labelMemory = AlignedMemory(byteCount: rows * 4)
            let labelSlice: MemorySlice<Int32> = labelMemory.slice()
            for (index, label) in labels.enumerated() { labelSlice[index] = Int32(label) }
            withExtendedLifetime((memory, labelMemory)) {
                _ = replica.step(Replica.Samples(inputs: memory.slice, labels: labelSlice[0..<rows]))
            }
            #expect(replica.gradient("up.weight").values == expected.values)
        }
    }

    /// PyTorch's default bounds follow from the elements of one input's kernels, and so do ours.
    @Test func initialValuesHavePyTorchsBounds() throws {
        final class Model: Module {
            let up = ConvTranspose2d(8, kernel: Pair(3, 5), groups: 2)
            func callAsFunction(_ x: Value) -> Value { flatten(up(x)) }
        }
        let replica = try TestReplica(Model(), input: [2, 2, 6], capacity: 1, threads: 1)
        let bound = 1 / Double(4 * 3 * 5).squareRoot()
        #expect(replica["up.weight"].shape == [6, 4, 3, 5])
        for name in ["up.weight", "up.bias"] {
            let largest = replica[name].values.map(abs).max()!
            #expect(largest <= bound && largest > bound / 2, "\(name)")
        }
    }
}
