import CKernels
import DTrainLayers
import Foundation
import Testing

/// Activations, addition, concatenation, flattening and reshaping against their oracles.
@Suite struct ElementwiseTests {
    @Test(arguments: NamedActivation.names, 1...3)
    func activationMatchesOracle(_ name: String, threads: Int) throws {
        let activation = NamedActivation(name)
        // The last shape has more elements than one part of a thread's share.
        for shape in [[1], [17], [5, 3], [3, 5, 7], [11, 20, 13]] {
            try OperationCheck(
                inputs: [shape], layer: nil, rows: 3, threads: threads, range: -4...4,
                isSmooth: name == "tanh" || name == "sigmoid", apply: { activation.apply($0[0]) },
                forward: { activation.oracle.forward($0[0]) },
                gradients: { ([activation.oracle.gradient($0[0], outputGradient: $1)], [:]) }
            ).run("\(name) of \(shape)")
        }
    }

    /// Saturation: no overflow, and an exact one far out.
    @Test(arguments: ["tanh", "sigmoid"])
    func saturatedActivationStaysFinite(_ name: String) throws {
        let activation = NamedActivation(name)
        for range in [Float(80)...100, -100...(-80), 1e4...2e4, -2e4...(-1e4)] {
            try OperationCheck(
                inputs: [[33]], layer: nil, range: range, isSmooth: false, apply: { activation.apply($0[0]) },
                forward: { activation.oracle.forward($0[0]) },
                gradients: { ([activation.oracle.gradient($0[0], outputGradient: $1)], [:]) }
            ).run("\(name) of \(range)")
        }
    }

    /// In units of the last place, over floats of every size, small ones included.
    @Test func tanhIsWithinThreeUnits() {
        let x = Swift.stride(from: UInt32(0), to: Float(100).bitPattern, by: 4001).map { Float(bitPattern: $0) }
        var y = [Float](repeating: 0, count: x.count)
        dt_activation_forward(x, &y, x.count, DT_TANH, 0)
        var worst = (units: 0.0, at: Float(0))
        for (x, y) in zip(x, y) {
            let exact = Foundation.tanh(Double(x))
            let units = abs(Double(y) - exact) / Double(Float(exact).ulp)
            if units > worst.units { worst = (units, x) }
        }
        #expect(worst.units < 3 && y.allSatisfy { $0 <= 1 }, "\(worst)")
        let special = [-2.5, 2.5, -0.0, .infinity, .nan] as [Float]
        var odd = special
        dt_activation_forward(special, &odd, odd.count, DT_TANH, 0)
        #expect(odd[0] == -odd[1] && odd[2].sign == .minus && odd[2] == 0 && odd[3] == 1 && odd[4].isNaN)
    }

    @Test(arguments: [[7], [4, 3], [3, 5, 2], [12, 20, 11]], 1...3)
    func additionMatchesOracle(_ shape: [Int], threads: Int) throws {
        try OperationCheck(
            inputs: [shape, shape], layer: nil, rows: 3, threads: threads, apply: { $0[0] + $0[1] },
            forward: { $0[0] + $0[1] }, gradients: { ([$1, $1], [:]) }
        ).run("sum of \(shape)")
        try OperationCheck(
            inputs: [shape], layer: nil, threads: threads, apply: { $0[0] + $0[0] }, forward: { $0[0] + $0[0] },
            gradients: { ([$1 + $1], [:]) }
        ).run("\(shape) added to itself")
    }

    @Test(
        arguments: [
            [[5]], [[3], [4]], [[2, 1], [2, 3], [2, 2]], [[3, 2, 4], [3, 2, 1], [3, 2, 4]], [[2, 2, 3]],
        ], 1...3)
    func concatenationMatchesOracle(_ shapes: [[Int]], threads: Int) throws {
        try OperationCheck(
            inputs: shapes, layer: nil, rows: 3, threads: threads, apply: { concatenate($0) },
            forward: { ShapeOracle.concatenate($0) },
            gradients: { (ShapeOracle.concatenationGradients($0.map { $0.shape.last! }, outputGradient: $1), [:]) }
        ).run("concatenation of \(shapes)")
    }

    @Test func concatenationOfAValueWithItself() throws {
        try OperationCheck(
            inputs: [[2, 3, 2]], layer: nil, apply: { concatenate([$0[0], $0[0], $0[0]]) },
            forward: { ShapeOracle.concatenate([$0[0], $0[0], $0[0]]) },
            gradients: { _, dy in
                let parts = ShapeOracle.concatenationGradients([2, 2, 2], outputGradient: dy)
                return ([parts[0] + parts[1] + parts[2]], [:])
            }
        ).run("x, x, x")
    }

    /// Flattened images that are joined, and one that is reshaped, are in PyTorch's order.
    @Test func flattenedImagesKeepPyTorchOrder() throws {
        try OperationCheck(
            inputs: [[2, 3, 2], [2, 2, 3]], layer: nil, apply: { concatenate($0.map { flatten($0) }) },
            forward: { ShapeOracle.concatenate($0.map { ShapeOracle.flatten($0) }) },
            gradients: { x, dy in
                let parts = ShapeOracle.concatenationGradients([12, 12], outputGradient: dy)
                return (zip(x, parts).map { ShapeOracle.flattenGradient($0.shape, outputGradient: $1) }, [:])
            }
        ).run("joined")
        // [4, 3, 2] and [2, 4, 3] (height × width × channels) have their elements in the same order channels first.
        try OperationCheck(
            inputs: [[4, 3, 2]], layer: nil, rows: 3, apply: { reshape(tanh($0[0]), to: [2, 4, 3]) },
            forward: { x in
                let features = ShapeOracle.flatten(ElementwiseOracle.tanh.forward(x[0]))
                return ShapeOracle.flattenGradient([3, 2, 4, 3], outputGradient: features)
            },
            gradients: { x, dy in
                let image = ShapeOracle.flattenGradient([3, 4, 3, 2], outputGradient: ShapeOracle.flatten(dy))
                return ([ElementwiseOracle.tanh.gradient(x[0], outputGradient: image)], [:])
            }
        ).run("reshaped")
    }
}
