import DTrainLayers
import Testing

/// Maximum and average pooling against the oracle.
@Suite struct PoolingTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var image: [Int]
        var kernel: (Int, Int)
        var stride: (Int, Int)?
        var padding = (0, 0)
        var rows = 2
        var ceilMode = false
        var countsPadding = true
        var testDescription: String {
            "\(rows)×\(image), kernel \(kernel), stride \(stride.map { "\($0)" } ?? "default"), padding \(padding)"
                + "\(ceilMode ? ", ceil mode" : "")\(countsPadding ? "" : ", padding does not count")"
        }
    }

    static let cases = [
        Case(image: [6, 6, 3], kernel: (2, 2)),
        Case(image: [7, 5, 3], kernel: (3, 2), stride: (2, 3), padding: (1, 1), rows: 3),
        Case(image: [5, 6, 10], kernel: (3, 3), stride: (1, 1), padding: (1, 1)),
        Case(image: [4, 4, 17], kernel: (4, 4), rows: 1),
        Case(image: [1, 1, 2], kernel: (2, 2), padding: (1, 1), rows: 1),
        Case(image: [9, 3, 1], kernel: (5, 1), stride: (2, 1), padding: (2, 0)),
        Case(image: [15, 17, 1], kernel: (14, 17), stride: (1, 1), padding: (7, 8), rows: 1),
        Case(image: [3, 7, 2], kernel: (1, 1), stride: (2, 2)),
        // Windows that end beyond the image, beyond its padding, and one that would begin beyond and is left out.
        Case(image: [6, 8, 9], kernel: (3, 3), stride: (2, 2), ceilMode: true),
        Case(image: [6, 7, 5], kernel: (3, 3), stride: (2, 3), padding: (1, 1), rows: 3, ceilMode: true),
        Case(image: [6, 7, 2], kernel: (3, 3), stride: (2, 3), padding: (1, 1), ceilMode: true, countsPadding: false),
        Case(image: [5, 4, 3], kernel: (2, 2), stride: (3, 3), padding: (1, 1), ceilMode: true),
        Case(image: [2, 2, 4], kernel: (3, 3), stride: (2, 2), rows: 1, ceilMode: true),
        Case(image: [5, 5, 8], kernel: (2, 2), ceilMode: true),
        Case(image: [5, 6, 3], kernel: (3, 3), stride: (1, 1), padding: (1, 1), countsPadding: false),
    ]

    /// Inputs below zero as well as around it: padding must not win as a zero.
    @Test(arguments: cases, 1...3)
    func maximumMatchesOracle(_ setting: Case, threads: Int) throws {
        for range in [Float(-1)...1, -3...(-2)] {
            try check(setting, isMaximum: true, threads: threads, range: range, activation: nil)
        }
    }

    @Test(arguments: cases, 1...3)
    func averageMatchesOracle(_ setting: Case, threads: Int) throws {
        try check(setting, isMaximum: false, threads: threads, activation: nil)
    }

    /// ReLU after the maximum is fused into it; other activations and averages are not.
    @Test(arguments: cases, NamedActivation.names)
    func activationAfterPoolingMatchesOracle(_ setting: Case, activation: String) throws {
        try check(setting, isMaximum: true, threads: 2, activation: activation)
        try check(setting, isMaximum: false, threads: 2, activation: activation)
    }

    /// The first of equal values gets the whole gradient, as in PyTorch.
    @Test func tiesGoToTheFirst() throws {
        let oracle = PoolingOracle(kernel: (2, 2), stride: (1, 1))
        try OperationCheck(
            inputs: [[3, 3, 2]], layer: nil, range: 0.5...0.5, isSmooth: false,
            apply: { maxPool($0[0], kernel: 2, stride: 1) }, forward: { oracle.maximum($0[0]) },
            gradients: { ([oracle.maximumGradient($0[0], outputGradient: $1)], [:]) }
        ).run("equal values")
    }

    /// A sequence is pooled along its length alone.
    @Test(arguments: [(3, 2, 1), (2, 2, 0), (5, 1, 2)])
    func sequencesArePooledAlongTheirLength(_ window: (kernel: Int, stride: Int, padding: Int)) throws {
        let oracle = PoolingOracle(kernel: (1, window.kernel), stride: (1, window.stride), padding: (0, window.padding))
        func image(_ x: ReferenceTensor) -> ReferenceTensor { x.reshaped([x.shape[0], 1] + x.shape[1...]) }
        func sequence(_ x: ReferenceTensor) -> ReferenceTensor { x.reshaped([x.shape[0]] + x.shape[2...]) }
        try OperationCheck(
            inputs: [[9, 3]], layer: nil,
            apply: {
                averagePool(
                    $0[0], kernel: Pair(1, window.kernel), stride: Pair(1, window.stride),
                    padding: Pair(0, window.padding))
            },
            forward: { sequence(oracle.average(image($0[0]))) },
            gradients: { ([sequence(oracle.averageGradient(image($0[0]), outputGradient: image($1)))], [:]) }
        ).run("sequence \(window)")
    }

    private func check(
        _ setting: Case, isMaximum: Bool, threads: Int, range: ClosedRange<Float> = -1...1, activation: String?
    ) throws {
        let stride = setting.stride ?? setting.kernel
        let oracle = PoolingOracle(
            kernel: setting.kernel, stride: stride, padding: setting.padding, ceilMode: setting.ceilMode,
            countsPadding: setting.countsPadding)
        let function = activation.map(NamedActivation.init)
        func pooled(_ x: ReferenceTensor) -> ReferenceTensor { isMaximum ? oracle.maximum(x) : oracle.average(x) }
        try OperationCheck(
            inputs: [setting.image], layer: nil, rows: setting.rows, threads: threads, range: range,
            isSmooth: !isMaximum && activation != "relu" && activation != "leakyReLU",
            apply: { x in
                let (kernel, padding) = (
                    Pair(setting.kernel.0, setting.kernel.1), Pair(setting.padding.0, setting.padding.1)
                )
                let stride = setting.stride.map { Pair($0.0, $0.1) }
                let y =
                    isMaximum
                    ? maxPool(x[0], kernel: kernel, stride: stride, padding: padding, ceilMode: setting.ceilMode)
                    : averagePool(
                        x[0], kernel: kernel, stride: stride, padding: padding, ceilMode: setting.ceilMode,
                        countsPadding: setting.countsPadding)
                return function?.apply(y) ?? y
            },
            forward: { function?.oracle.forward(pooled($0[0])) ?? pooled($0[0]) },
            gradients: { x, dy in
                let dz = function?.oracle.gradient(pooled(x[0]), outputGradient: dy) ?? dy
                return (
                    [
                        isMaximum
                            ? oracle.maximumGradient(x[0], outputGradient: dz)
                            : oracle.averageGradient(x[0], outputGradient: dz)
                    ], [:]
                )
            }
        ).run("\(isMaximum ? "maximum" : "average") of \(setting.testDescription), \(activation ?? "no activation")")
    }
}
