import DTrainLayers
import Testing

/// Local response normalisation against the oracle.
@Suite struct LocalResponseNormTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var shape: [Int]
        var size: Int
        var alpha: Float = 1e-4
        var beta: Float = 0.75
        var k: Float = 1
        var rows = 2
        var testDescription: String { "\(rows)×\(shape), size \(size), alpha \(alpha), beta \(beta), k \(k)" }
    }

    static let cases = [
        Case(shape: [3, 4, 7], size: 5, alpha: 1.5, k: 2),
        Case(shape: [3, 2, 6], size: 4, alpha: 2, beta: 0.6, k: 0.5, rows: 3),
        Case(shape: [2, 2, 3], size: 9, alpha: 3, beta: 1.25, rows: 1),
        Case(shape: [5, 3, 1], size: 2, alpha: 0.7),
        Case(shape: [4, 19], size: 3, alpha: 1, beta: 0.5, k: 2),
        Case(shape: [2, 3, 33], size: 1, alpha: 4),
        Case(shape: [2, 3, 16], size: 5),
    ]

    @Test(arguments: cases, 1...3)
    func matchesOracle(_ setting: Case, threads: Int) throws {
        let oracle = LocalResponseNormOracle(
            size: setting.size, alpha: Double(setting.alpha), beta: Double(setting.beta), k: Double(setting.k))
        func normalised(_ x: Value) -> Value {
            localResponseNorm(x, size: setting.size, alpha: setting.alpha, beta: setting.beta, k: setting.k)
        }
        try OperationCheck(
            inputs: [setting.shape], layer: nil, rows: setting.rows, threads: threads, range: -2...2,
            apply: { normalised($0[0]) }, forward: { oracle.forward($0[0]) },
            gradients: { ([oracle.gradient($0[0], outputGradient: $1)], [:]) }
        ).run(setting.testDescription)
        // In a slice of a concatenation, beside another reader of its input.
        try OperationCheck(
            inputs: [setting.shape], layer: nil, rows: setting.rows, threads: threads, range: -2...2,
            apply: { concatenate([normalised($0[0]), normalised($0[0])]) },
            forward: { x in ShapeOracle.concatenate([oracle.forward(x[0]), oracle.forward(x[0])]) },
            gradients: { x, dy in
                let channels = setting.shape.last!
                let parts = ShapeOracle.concatenationGradients([channels, channels], outputGradient: dy)
                return ([oracle.gradient(x[0], outputGradient: parts[0] + parts[1])], [:])
            }
        ).run("\(setting.testDescription), joined")
    }
}
