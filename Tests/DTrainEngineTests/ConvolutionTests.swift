import DTrainLayers
import Testing

/// Convolutions of the engine against the naive oracle: outputs and the gradients of input, weight and bias.
@Suite struct ConvolutionTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var image: [Int]
        var outputs: Int
        var kernel: (Int, Int)
        var stride = (1, 1)
        var padding = (0, 0)
        var dilation = (1, 1)
        var groups = 1
        var bias = true
        var rows = 2

        var testDescription: String {
            "\(rows)×\(image) to \(outputs), kernel \(kernel), stride \(stride), padding \(padding), dilation \(dilation), "
                + "groups \(groups)\(bias ? "" : ", no bias")"
        }
    }

    static let cases = [
        Case(image: [7, 8, 3], outputs: 4, kernel: (3, 2), stride: (2, 1), padding: (1, 2), dilation: (1, 2)),
        Case(image: [6, 5, 4], outputs: 6, kernel: (3, 3), padding: (2, 2), dilation: (2, 2), groups: 2, rows: 3),
        Case(image: [5, 9, 3], outputs: 3, kernel: (3, 3), stride: (1, 3), padding: (1, 0), groups: 3, bias: false),
        Case(image: [5, 5, 4], outputs: 8, kernel: (2, 2), stride: (2, 2), groups: 4, rows: 1),
        Case(image: [4, 3, 5], outputs: 7, kernel: (1, 1), rows: 3),
        Case(image: [4, 3, 5], outputs: 7, kernel: (1, 1), bias: false),
        Case(image: [5, 5, 2], outputs: 3, kernel: (1, 1), stride: (2, 2), padding: (1, 1)),
        Case(image: [4, 4, 4], outputs: 6, kernel: (1, 1), groups: 2),
        Case(image: [3, 4, 2], outputs: 5, kernel: (3, 4), rows: 5),
        Case(image: [1, 1, 3], outputs: 2, kernel: (3, 3), padding: (1, 1), rows: 1),
        Case(image: [2, 3, 1], outputs: 1, kernel: (5, 7), padding: (4, 6), dilation: (2, 1)),
        Case(image: [28, 28, 1], outputs: 10, kernel: (5, 5), rows: 2),
        Case(image: [12, 12, 10], outputs: 20, kernel: (5, 5), rows: 3),
        Case(image: [9, 11, 16], outputs: 24, kernel: (5, 5), padding: (2, 2), rows: 1),
        // Whole output lines, and with several threads whole parts, lie in the padding.
        Case(image: [2, 3, 2], outputs: 3, kernel: (1, 1), padding: (4, 1)),
        Case(image: [2, 3, 2], outputs: 3, kernel: (2, 2), stride: (1, 2), padding: (5, 3), dilation: (2, 1), rows: 1),
        // A kernel for each channel: whole vectors, and a rest.
        Case(image: [7, 6, 32], outputs: 32, kernel: (3, 3), padding: (1, 1), groups: 32),
        Case(image: [8, 7, 43], outputs: 43, kernel: (3, 3), stride: (2, 2), padding: (1, 1), groups: 43, bias: false),
        Case(image: [6, 9, 13], outputs: 13, kernel: (5, 2), padding: (4, 1), dilation: (2, 3), groups: 13, rows: 3),
        Case(image: [5, 5, 3], outputs: 6, kernel: (3, 3), padding: (1, 1), groups: 3),
        // Several blocks of lines: 26 lines × 26 pixels × 800 floats a window.
        Case(image: [26, 26, 32], outputs: 3, kernel: (5, 5), padding: (2, 2), rows: 1),
    ]

    @Test(arguments: cases, 1...3)
    func imageMatchesOracle(_ setting: Case, threads: Int) throws {
        try check(setting, threads: threads, activation: nil)
    }

    /// Fused into the convolution, where its derivative is taken from the output.
    @Test(arguments: ["relu", "tanh", "sigmoid", "leakyReLU"], [1, 3])
    func fusedActivationMatchesOracle(_ activation: String, threads: Int) throws {
        for index in [0, 1, 4, 13] { try check(Self.cases[index], threads: threads, activation: activation) }
    }

    private func check(_ setting: Case, threads: Int, activation: String?) throws {
        let oracle = ConvolutionOracle(
            stride: setting.stride, padding: setting.padding, dilation: setting.dilation, groups: setting.groups)
        let (channels, outputs) = (setting.image[2], setting.outputs)
        let weight = ReferenceTensor.random(
            [outputs, channels / setting.groups, setting.kernel.0, setting.kernel.1], seed: 11)
        let bias = setting.bias ? ReferenceTensor.random([outputs], seed: 12) : nil
        let layer = Conv2d(
            outputs, kernel: Pair(setting.kernel.0, setting.kernel.1), stride: Pair(setting.stride.0, setting.stride.1),
            padding: Pair(setting.padding.0, setting.padding.1), dilation: Pair(setting.dilation.0, setting.dilation.1),
            groups: setting.groups, bias: setting.bias)
        let function = activation.map(NamedActivation.init)
        try OperationCheck(
            inputs: [setting.image], layer: layer,
            parameters: bias.map { ["weight": weight, "bias": $0] } ?? ["weight": weight], rows: setting.rows,
            threads: threads, isSmooth: activation != "relu" && activation != "leakyReLU",
            apply: { function?.apply(layer($0[0])) ?? layer($0[0]) },
            forward: { x in
                let z = oracle.forward(x[0], weight: weight, bias: bias)
                return function?.oracle.forward(z) ?? z
            },
            gradients: { x, dy in
                let z = oracle.forward(x[0], weight: weight, bias: bias)
                let dz = function?.oracle.gradient(z, outputGradient: dy) ?? dy
                let result = oracle.gradients(x[0], weight: weight, outputGradient: dz)
                return (
                    [result.x],
                    bias == nil ? ["weight": result.weight] : ["weight": result.weight, "bias": result.bias]
                )
            }
        ).run(setting.testDescription + (activation.map { ", " + $0 } ?? ""))
    }

    struct SequenceCase: CustomTestStringConvertible, Sendable {
        var sequence: [Int]
        var outputs: Int
        var kernel: Int
        var stride = 1
        var padding = 0
        var dilation = 1
        var groups = 1
        var bias = true
        var testDescription: String {
            "\(sequence) to \(outputs), kernel \(kernel), stride \(stride), padding \(padding), dilation \(dilation), groups \(groups)"
        }
    }

    @Test(
        arguments: [
            SequenceCase(sequence: [11, 4], outputs: 6, kernel: 3, stride: 2, padding: 3, dilation: 2, groups: 2),
            SequenceCase(sequence: [9, 3], outputs: 2, kernel: 4, padding: 1, bias: false),
            SequenceCase(sequence: [1, 2], outputs: 3, kernel: 1),
            SequenceCase(sequence: [25, 1], outputs: 5, kernel: 7, stride: 3, padding: 6, dilation: 2),
        ], 1...3)
    func sequenceMatchesOracle(_ setting: SequenceCase, threads: Int) throws {
        let oracle = SequenceConvolutionOracle(
            stride: setting.stride, padding: setting.padding, dilation: setting.dilation, groups: setting.groups)
        let weight = ReferenceTensor.random(
            [setting.outputs, setting.sequence[1] / setting.groups, setting.kernel], seed: 13)
        let bias = setting.bias ? ReferenceTensor.random([setting.outputs], seed: 14) : nil
        let layer = Conv1d(
            setting.outputs, kernel: setting.kernel, stride: setting.stride, padding: setting.padding,
            dilation: setting.dilation, groups: setting.groups, bias: setting.bias)
        try OperationCheck(
            inputs: [setting.sequence], layer: layer,
            parameters: bias.map { ["weight": weight, "bias": $0] } ?? ["weight": weight], threads: threads,
            apply: { layer($0[0]) }, forward: { oracle.forward($0[0], weight: weight, bias: bias) },
            gradients: { x, dy in
                let result = oracle.gradients(x[0], weight: weight, outputGradient: dy)
                return (
                    [result.x],
                    bias == nil ? ["weight": result.weight] : ["weight": result.weight, "bias": result.bias]
                )
            }
        ).run(setting.testDescription)
    }
}
