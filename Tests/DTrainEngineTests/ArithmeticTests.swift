import DTrainLayers
import Testing

/// Products, numbers in formulas, shortcuts and softmax against their oracles.
@Suite struct ArithmeticTests {
    @Test(arguments: [[7], [4, 3], [3, 5, 2], [12, 20, 11]], 1...3)
    func productMatchesOracle(_ shape: [Int], threads: Int) throws {
        try OperationCheck(
            inputs: [shape, shape], layer: nil, rows: 3, threads: threads, apply: { $0[0] * $0[1] },
            forward: { $0[0] * $0[1] }, gradients: { ([$0[1] * $1, $0[0] * $1], [:]) }
        ).run("product of \(shape)")
        try OperationCheck(
            inputs: [shape], layer: nil, threads: threads, apply: { $0[0] * $0[0] }, forward: { $0[0] * $0[0] },
            gradients: { ([($0[0] * $1).map { 2 * $0 }], [:]) }
        ).run("\(shape) squared")
    }

    @Test(arguments: [[1], [9, 4], [5, 3, 2], [12, 20, 11]], 1...3)
    func numbersInFormulas(_ shape: [Int], threads: Int) throws {
        try OperationCheck(
            inputs: [shape], layer: nil, rows: 3, threads: threads, apply: { 0.5 - 3 * $0[0] + 2 },
            forward: { $0[0].map { 2.5 - 3 * $0 } }, gradients: { ([$1.map { -3 * $0 }], [:]) }
        ).run("2.5 - 3 x")
        // The gate of a highway: both readers of the gate send gradients.
        try OperationCheck(
            inputs: [shape, shape, shape], layer: nil, rows: 3, threads: threads,
            apply: { $0[0] * $0[1] + (1 - $0[0]) * $0[2] },
            forward: { x in x[0] * x[1] + x[0].map { 1 - $0 } * x[2] },
            gradients: { x, dy in
                ([dy * (x[1] + x[2].map { -$0 }), dy * x[0], dy * x[0].map { 1 - $0 }], [:])
            }
        ).run("gate")
    }

    /// Element by element, so the order of a flattened image goes through and the linear layer still carries it.
    @Test func scalingKeepsAFlattenedImageFree() throws {
        final class Scaled: Module {
            let fc = Linear(2)
            func callAsFunction(_ x: Value) -> Value { fc(2 * flatten(x) + 1) }
        }
        let graph = try Graph.trace(Scaled(), input: [3, 3, 2], mode: .evaluation, objective: nil)
        #expect(!graph.nodes.contains { $0.operation.name == "transpose" })
    }

    @Test(
        arguments: [([4, 6, 3], 5, 2, 2), ([5, 3, 2], 2, 2, 3), ([7, 8, 4], 9, 3, 1), ([2, 3, 9], 10, 1, 2)], 1...3)
    func zeroPaddingShortcutMatchesOracle(_ setting: ([Int], Int, Int, Int), threads: Int) throws {
        let (image, channels, stride, rows) = setting
        let oracle = ZeroPaddingShortcutOracle(channels: channels, stride: stride)
        try OperationCheck(
            inputs: [image], layer: nil, rows: rows, threads: threads,
            apply: { zeroPaddingShortcut($0[0], channels: channels, stride: stride) },
            forward: { oracle.forward($0[0]) },
            gradients: { ([oracle.gradient($0[0], outputGradient: $1)], [:]) }
        ).run("shortcut of \(image) to \(channels), stride \(stride)")
        // In slices of a concatenation; the gradients of two readers are added.
        try OperationCheck(
            inputs: [image], layer: nil, rows: rows, threads: threads,
            apply: { x in
                concatenate((0..<2).map { _ in zeroPaddingShortcut(x[0], channels: channels, stride: stride) })
            },
            forward: { ShapeOracle.concatenate([oracle.forward($0[0]), oracle.forward($0[0])]) },
            gradients: { x, dy in
                let parts = ShapeOracle.concatenationGradients([channels, channels], outputGradient: dy)
                return ([oracle.gradient(x[0], outputGradient: parts[0] + parts[1])], [:])
            }
        ).run("joined shortcuts of \(image)")
    }

    /// Where nothing changes there is no operation.
    @Test func identitiesAreFree() throws {
        final class Same: Module {
            let identity = Identity()
            func callAsFunction(_ x: Value) -> Value { zeroPaddingShortcut(identity(x), channels: 3, stride: 1) }
        }
        #expect(try Graph.trace(Same(), input: [4, 4, 3], mode: .training, objective: nil).nodes.isEmpty)
    }

    @Test(arguments: [[5], [1], [4, 17], [3, 2, 6], [9, 8, 40]], 1...3)
    func softmaxMatchesOracle(_ shape: [Int], threads: Int) throws {
        for range in [Float(-3)...3, 40...100] {
            try OperationCheck(
                inputs: [shape], layer: nil, rows: 3, threads: threads, range: range, isSmooth: range.upperBound < 10,
                apply: { softmax($0[0]) }, forward: { SoftmaxOracle.forward($0[0]) },
                gradients: { ([SoftmaxOracle.gradient($0[0], outputGradient: $1)], [:]) }
            ).run("softmax of \(shape) in \(range)")
        }
        try OperationCheck(
            inputs: [shape], layer: nil, rows: 2, threads: threads, apply: { softmax($0[0]) + softmax($0[0]) },
            forward: { SoftmaxOracle.forward($0[0]).map { 2 * $0 } },
            gradients: { ([SoftmaxOracle.gradient($0[0], outputGradient: $1).map { 2 * $0 }], [:]) }
        ).run("softmax of \(shape), twice")
    }
}
