import DTrainLayers
import Testing

/// Pooling to a given size against the oracle: even and uneven windows, more outputs than inputs, sequences.
@Suite struct AdaptivePoolingTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var image: [Int]
        var size: (Int, Int)
        var rows = 2
        var testDescription: String { "\(rows)×\(image) to \(size)" }
    }

    static let cases = [
        Case(image: [6, 4, 3], size: (3, 2)),
        Case(image: [7, 5, 9], size: (3, 2), rows: 3),
        Case(image: [5, 3, 17], size: (1, 1), rows: 1),
        Case(image: [8, 9, 8], size: (7, 7)),
        Case(image: [2, 3, 2], size: (4, 5)),
        Case(image: [1, 1, 4], size: (6, 6), rows: 1),
        Case(image: [20, 17, 1], size: (1, 3), rows: 1),
    ]

    @Test(arguments: cases, 1...3)
    func averageMatchesOracle(_ setting: Case, threads: Int) throws {
        let oracle = AdaptivePoolingOracle(size: setting.size)
        let size = Pair(setting.size.0, setting.size.1)
        try OperationCheck(
            inputs: [setting.image], layer: nil, rows: setting.rows, threads: threads,
            apply: { adaptiveAveragePool($0[0], to: size) }, forward: { oracle.average($0[0]) },
            gradients: { ([oracle.averageGradient($0[0], outputGradient: $1)], [:]) }
        ).run("average of \(setting.testDescription)")
        // Read twice: the gradients of both are added.
        try OperationCheck(
            inputs: [setting.image], layer: nil, rows: setting.rows, threads: threads,
            apply: { adaptiveAveragePool($0[0], to: size) + adaptiveAveragePool($0[0], to: size) },
            forward: { oracle.average($0[0]).map { 2 * $0 } },
            gradients: { ([oracle.averageGradient($0[0], outputGradient: $1).map { 2 * $0 }], [:]) }
        ).run("average of \(setting.testDescription), twice")
    }

    @Test(arguments: cases, 1...3)
    func maximumMatchesOracle(_ setting: Case, threads: Int) throws {
        let oracle = AdaptivePoolingOracle(size: setting.size)
        let size = Pair(setting.size.0, setting.size.1)
        try OperationCheck(
            inputs: [setting.image], layer: nil, rows: setting.rows, threads: threads, range: -3...(-1),
            isSmooth: false, apply: { adaptiveMaxPool($0[0], to: size) }, forward: { oracle.maximum($0[0]) },
            gradients: { ([oracle.maximumGradient($0[0], outputGradient: $1)], [:]) }
        ).run("maximum of \(setting.testDescription)")
        // Into slices of a concatenation, from which gradients come back.
        try OperationCheck(
            inputs: [setting.image], layer: nil, rows: setting.rows, threads: threads, isSmooth: false,
            apply: { concatenate([adaptiveMaxPool($0[0], to: size), adaptiveAveragePool($0[0], to: size)]) },
            forward: { ShapeOracle.concatenate([oracle.maximum($0[0]), oracle.average($0[0])]) },
            gradients: { x, dy in
                let channels = setting.image[2]
                let parts = ShapeOracle.concatenationGradients([channels, channels], outputGradient: dy)
                let maximum = oracle.maximumGradient(x[0], outputGradient: parts[0])
                return ([maximum + oracle.averageGradient(x[0], outputGradient: parts[1])], [:])
            }
        ).run("joined poolings of \(setting.testDescription)")
    }

    /// The first of equal values gets the whole gradient, as in PyTorch.
    @Test func tiesGoToTheFirst() throws {
        let oracle = AdaptivePoolingOracle(size: (2, 2))
        try OperationCheck(
            inputs: [[3, 3, 2]], layer: nil, range: 0.5...0.5, isSmooth: false,
            apply: { adaptiveMaxPool($0[0], to: 2) }, forward: { oracle.maximum($0[0]) },
            gradients: { ([oracle.maximumGradient($0[0], outputGradient: $1)], [:]) }
        ).run("equal values")
    }

    @Test func sequencesArePooledAlongTheirLength() throws {
        let oracle = AdaptivePoolingOracle(size: (1, 4))
        func image(_ x: ReferenceTensor) -> ReferenceTensor { x.reshaped([x.shape[0], 1] + x.shape[1...]) }
        func sequence(_ x: ReferenceTensor) -> ReferenceTensor { x.reshaped([x.shape[0]] + x.shape[2...]) }
        try OperationCheck(
            inputs: [[9, 3]], layer: nil, apply: { adaptiveAveragePool($0[0], to: 4) },
            forward: { sequence(oracle.average(image($0[0]))) },
            gradients: { ([sequence(oracle.averageGradient(image($0[0]), outputGradient: image($1)))], [:]) }
        ).run("sequence")
    }

    /// The mean of all pixels; and where windows are single pixels there is no operation at all.
    @Test func globalAverageAndNothingToPool() throws {
        final class Global: Module {
            func callAsFunction(_ x: Value) -> Value {
                adaptiveMaxPool(adaptiveAveragePool(globalAveragePool(x), to: 1), to: 1)
            }
        }
        let graph = try Graph.trace(Global(), input: [4, 6, 5], mode: .evaluation, objective: nil)
        #expect(graph.nodes.map(\.operation.name) == ["adaptiveAveragePool"])
        #expect(graph.values[graph.output].shape == [1, 1, 5])
    }
}
