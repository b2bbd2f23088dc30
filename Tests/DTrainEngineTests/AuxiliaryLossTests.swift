import DTrainEngine
import DTrainLayers
import DTrainTensor
import Testing

/// Outputs beside the model's own, judged in training alone.
@Suite struct AuxiliaryLossTests {
    private final class TwoHeads: Module {
        let body = Linear(6)
        let side = Linear(4)
        let head = Linear(4)

        func callAsFunction(_ x: Value) -> Value {
            let hidden = tanh(body(flatten(x)))
            if x.mode == .training { auxiliaryLoss(side(hidden), weight: 0.3) }
            return head(tanh(hidden))
        }
    }

    private let x = ReferenceTensor.random([3, 2, 2, 2], seed: 3)
    private let labels = [3, 0, 1]

    @Test(arguments: [Objective.crossEntropy(), .crossEntropy(labelSmoothing: 0.2), .meanSquaredError], 1...2)
    func lossAndGradientsAreThoseOfTheSum(_ objective: Objective, threads: Int) throws {
        let replica = try TestReplica(
            TwoHeads(), input: [2, 2, 2], objective: objective, capacity: 3, threads: threads)
        let mixing = (partners: [1, 1, 0], weights: [0.25, 0.5, 1])
        for mixing in [nil, mixing] {
            let loss = replica.step(x, labels: labels, mixing: mixing)
            let expected = try GraphOracle(
                graph: replica.replica.trainingGraph, parameters: replica.parameters, mixing: mixing
            ).run(x, labels: labels)
            #expect(abs(loss.sum - expected.loss) <= 1e-5 * expected.loss)
            for (name, gradient) in expected.gradients { expectMatches(replica.gradient(name), gradient, name) }
        }
        expectFiniteDifferences(replica, x, labels, "two heads")
    }

    /// By hand: the total is the main loss plus 0.3 times the other one.
    @Test func theWeightIsApplied() throws {
        let replica = try TestReplica(TwoHeads(), input: [2, 2, 2], capacity: 3, threads: 1)
        for name in ["side.weight", "head.weight"] { replica[name] = ReferenceTensor([4, 6]) }
        replica["head.bias"] = ReferenceTensor([4], [0, 1, 2, 3])
        replica["side.bias"] = ReferenceTensor([4], [1, 0, 0, -1])
        let oracle = CrossEntropyOracle()
        func loss(_ row: [Double]) -> Double {
            oracle.forward(ReferenceTensor([3, 4], row + row + row), labels: labels)
        }
        let expected = loss([0, 1, 2, 3]) + 0.3 * loss([1, 0, 0, -1])
        #expect(abs(replica.step(x, labels: labels).sum - expected) < 1e-5)
        // Evaluation knows nothing of it.
        #expect(abs(replica.evaluate(x, labels: labels).sum.loss.sum - loss([0, 1, 2, 3])) < 1e-5)
        #expect(!replica.replica.evaluationGraph.parameters.contains { $0.name.hasPrefix("side") })
    }

    @Test func headsOfDifferentSizesAreAnError() {
        final class Uneven: Module {
            let side = Linear(3)
            let head = Linear(4)
            func callAsFunction(_ x: Value) -> Value {
                auxiliaryLoss(side(flatten(x)), weight: 1)
                return head(flatten(x))
            }
        }
        #expect(throws: GraphError.self) { try TestReplica(Uneven(), input: [2, 2, 2], capacity: 3, threads: 1) }
    }
}
