import DTrainLayers
import Testing

/// Group, instance and layer normalisation against the oracle.
@Suite struct NormalizationTests {
    struct Case: CustomTestStringConvertible, Sendable {
        enum Kind: Sendable { case group(Int), instance, layer, wholeLayer }
        var shape: [Int]
        var kind: Kind
        var epsilon: Float = 1e-5
        var affine = true
        var rows = 2
        var testDescription: String {
            "\(kind) of \(rows)×\(shape), epsilon \(epsilon)\(affine ? "" : ", without weights")"
        }
    }

    static let cases = [
        Case(shape: [3, 5, 6], kind: .group(3), epsilon: 0.1),
        Case(shape: [4, 3, 8], kind: .group(1), rows: 3),
        Case(shape: [5, 4, 32], kind: .group(8), affine: false, rows: 1),
        Case(shape: [6, 4], kind: .group(2)),
        Case(shape: [12], kind: .group(3), rows: 3),
        Case(shape: [4, 5, 3], kind: .instance, rows: 3),
        Case(shape: [3, 3, 17], kind: .instance, affine: true),
        Case(shape: [19], kind: .layer, rows: 3),
        Case(shape: [5, 9], kind: .layer, epsilon: 0.01),
        Case(shape: [3, 2, 8], kind: .layer, affine: false, rows: 1),
        Case(shape: [3, 4, 5], kind: .wholeLayer, rows: 3),
        Case(shape: [5, 3], kind: .wholeLayer),
        Case(shape: [4, 4, 2], kind: .wholeLayer, affine: false, rows: 1),
    ]

    @Test(arguments: cases, 1...3)
    func matchesOracle(_ setting: Case, threads: Int) throws {
        let layer: any Module
        let extent: NormalizationOracle.Extent
        let (epsilon, affine) = (setting.epsilon, setting.affine)
        switch setting.kind {
        case .group(let groups):
            (layer, extent) = (GroupNorm(groups, epsilon: epsilon, affine: affine), .groups(groups))
        case .instance:
            (layer, extent) = (InstanceNorm2d(epsilon: epsilon, affine: affine), .groups(setting.shape[2]))
        case .layer: (layer, extent) = (LayerNorm(epsilon: epsilon, affine: affine), .channels)
        case .wholeLayer: (layer, extent) = (LayerNorm(over: .sample, epsilon: epsilon, affine: affine), .sample)
        }
        let oracle = NormalizationOracle(extent: extent, epsilon: Double(epsilon))
        let isWhole = if case .wholeLayer = setting.kind { true } else { false }
        let parameterShape = isWhole ? setting.shape : [setting.shape.last!]
        let weight = affine ? ReferenceTensor.random(parameterShape, seed: 31, in: 0.5...2) : nil
        let bias = affine ? ReferenceTensor.random(parameterShape, seed: 32) : nil

        /// A whole image's parameters are channels first in PyTorch.
        func torch(_ parameter: ReferenceTensor) -> ReferenceTensor {
            guard isWhole, parameter.shape.count == 3 else { return parameter }
            let (height, width, channels) = (parameter.shape[0], parameter.shape[1], parameter.shape[2])
            return ShapeOracle.flatten(parameter.reshaped([1, height, width, channels]))
                .reshaped([channels, height, width])
        }
        var parameters: [String: ReferenceTensor] = [:]
        if let weight, let bias { parameters = ["weight": torch(weight), "bias": torch(bias)] }
        func gradients(_ x: ReferenceTensor, _ dy: ReferenceTensor) -> ([ReferenceTensor], [String: ReferenceTensor]) {
            let result = oracle.gradients(x, weight: weight, outputGradient: dy)
            return ([result.x], affine ? ["weight": torch(result.weight), "bias": torch(result.bias)] : [:])
        }
        // Far from zero: variances must not drown in the mean's rounding.
        try OperationCheck(
            inputs: [setting.shape], layer: layer, parameters: parameters, rows: setting.rows, threads: threads,
            range: 3...5, apply: { layer($0[0]) }, forward: { oracle.forward($0[0], weight: weight, bias: bias) },
            gradients: { gradients($0[0], $1) }
        ).run(setting.testDescription)
        // In slices of a concatenation; the gradients of two uses are added.
        let channels = setting.shape.last!
        try OperationCheck(
            inputs: [setting.shape], layer: layer, parameters: parameters, rows: setting.rows, threads: threads,
            apply: { concatenate([layer($0[0]), layer($0[0])]) },
            forward: { x in
                let y = oracle.forward(x[0], weight: weight, bias: bias)
                return ShapeOracle.concatenate([y, y])
            },
            gradients: { x, dy in
                let parts = ShapeOracle.concatenationGradients([channels, channels], outputGradient: dy)
                return gradients(x[0], parts[0] + parts[1])
            }
        ).run("\(setting.testDescription), twice")
    }
}
