import DTrainEngine
import DTrainLayers
import DTrainTensor
import Testing

/// Parameters that training leaves alone: no gradient, no memory for one, no work.
@Suite struct FreezingTests {
    private final class Network: Module {
        let conv1 = Conv2d(6, kernel: 3, padding: 1)
        let bn1 = BatchNorm2d()
        let conv2 = Conv2d(4, kernel: 3)
        let bn2 = BatchNorm2d()
        let fc1 = Linear(8)
        let fc2 = Linear(4)

        func callAsFunction(_ x: Value) -> Value {
            let h1 = relu(bn1(conv1(x)))
            let h2 = relu(bn2(conv2(h1)))
            return fc2(tanh(fc1(flatten(h2))))
        }
    }

    private let x = ReferenceTensor.random([3, 6, 5, 2], seed: 3)
    private let labels = [0, 3, 1]

    private func trained(_ frozen: [String], threads: Int = 2) throws -> TestReplica {
        let replica = try TestReplica(Network(), input: [6, 5, 2], capacity: 3, threads: threads, frozen: frozen)
        replica.moveRunningStatistics()
        return replica
    }

    @Test(arguments: [
        ["conv1.*"], ["conv1.*", "bn1.*"], ["*.weight"], ["*.bias", "bn?.*"], ["fc2.*"], ["conv[12].*"],
    ])
    func theOtherGradientsAreThoseOfTheGraph(_ frozen: [String]) throws {
        for threads in 1...3 {
            let replica = try trained(frozen, threads: threads)
            let loss = replica.step(x, labels: labels)
            let expected = try GraphOracle(
                graph: replica.replica.trainingGraph, parameters: replica.parameters
            ).run(x, labels: labels)
            #expect(abs(loss.sum - expected.loss) <= 1e-5 * expected.loss)
            #expect(Set(replica.parameterNames) == Set(expected.gradients.keys))
            #expect(!replica.parameterNames.contains { NamePatterns(frozen).match($0) })
            let largest = expected.gradients.values.flatMap(\.values).reduce(0) { max($0, abs($1)) }
            for (name, gradient) in expected.gradients {
                // The gradient of a bias before a batch norm is zero but for rounding.
                expectMatches(
                    replica.gradient(name), gradient, tolerance: 1e-4, floor: largest / 100,
                    "\(frozen): gradient of \(name)")
            }
        }
    }

    private final class Decoder: Module {
        let spread = Conv2d(6, kernel: 3, padding: 1, groups: 6)
        let norm = GroupNorm(3)
        let up = ConvTranspose2d(4, kernel: 3, stride: 2, outputPadding: 1)
        let last = LayerNorm(over: .sample)
        let fc = Linear(4)

        init() {}
        func callAsFunction(_ x: Value) -> Value {
            fc(flatten(last(tanh(up(tanh(norm(spread(concatenate([x, x, x])))))))))
        }
    }

    /// Other kinds of layers, with 10 parameters.
    @Test(arguments: [
        (["spread.weight"], 9), (["norm.weight"], 9), (["norm.*"], 8), (["up.bias", "last.bias"], 8), (["up.*"], 8),
        (["spread.*", "norm.*", "up.weight"], 5), (["last.weight", "fc.*"], 7),
    ])
    func otherLayersLeaveFrozenParametersAlone(_ setting: (frozen: [String], count: Int)) throws {
        for threads in 1...3 {
            let replica = try TestReplica(
                Decoder(), input: [6, 5, 2], capacity: 3, threads: threads, frozen: setting.frozen)
            let before = replica.parameters
            replica.step(x, labels: labels)
            if threads == 1 { #expect(replica.replica.parameterGradientCount == setting.count) }
            let expected = try GraphOracle(
                graph: replica.replica.trainingGraph, parameters: replica.parameters
            ).run(x, labels: labels)
            #expect(replica.parameterNames.count == setting.count && replica.parameters == before)
            let largest = expected.gradients.values.flatMap(\.values).reduce(0) { max($0, abs($1)) }
            for (name, gradient) in expected.gradients {
                expectMatches(
                    replica.gradient(name), gradient, floor: largest / 100, "\(setting.frozen): gradient of \(name)")
            }
        }
    }

    /// Counted, not inferred: each trainable parameter's gradient is computed once a step on each thread, no other.
    @Test func gradientsOfFrozenParametersAreNeverComputed() throws {
        let all = try trained([], threads: 1)
        all.step(x, labels: labels)
        #expect(all.replica.parameterGradientCount == 12)
        #expect(all.replica.layout.trainableCount == all.replica.gradients.count)
        for (frozen, count) in [(["conv1.*"], 10), (["conv*", "bn*"], 4), (["*.weight"], 6), (["f*"], 8)] {
            let replica = try trained(frozen, threads: 1)
            replica.step(x, labels: labels)
            #expect(replica.replica.parameterGradientCount == count, "\(frozen)")
            #expect(replica.replica.stepCost.multiplyAdds < all.replica.stepCost.multiplyAdds)
        }
        // Below the last trainable layer nothing goes back at all.
        let head = try trained(["conv*", "bn*", "fc1.*"], threads: 1)
        #expect(
            head.replica.stepCost.multiplyAdds
                == head.replica.trainingGraph.multiplyAdds + 8 * 4)
        let layout = head.replica.layout
        #expect(layout.trainableParameterCount == 8 * 4 + 4)
        #expect(head.replica.gradients.count == layout.trainableCount && layout.trainableCount <= 64)
    }

    /// A batch-norm whose weight and bias are frozen normalises by its running statistics and leaves them alone.
    @Test func aFrozenBatchNormUsesItsRunningStatistics() throws {
        let replica = try trained(["bn1.*"])
        #expect(replica.replica.batchNorms.map(\.path) == ["bn2"])
        let before = replica.parameters
        replica.step(x, labels: labels)
        replica.replica.updateRunningStatistics(with: replica.replica.statistics)
        for name in ["bn1.running_mean", "bn1.running_var"] { #expect(replica[name] == before[name]) }
        #expect(replica.counter("bn1.num_batches_tracked") == 0)
        #expect(replica["bn2.running_mean"] != before["bn2.running_mean"])
        #expect(replica.counter("bn2.num_batches_tracked") == 1)
        // Half frozen, it still uses the batch.
        #expect(try trained(["bn1.weight"]).replica.batchNorms.map(\.path) == ["bn1", "bn2"])
    }

    @Test func nothingLeftToTrainIsAnError() {
        #expect(throws: GraphError.self) { try trained(["*"]) }
    }
}
