import DTrainEngine
import DTrainLayers
import DTrainTensor
import Testing

/// Whatever a plan does to a graph (fuse, reorder memory, split over threads), the results are those of the graph as it
/// was traced, computed node by node in double precision.
@Suite struct PlanTests {
    @Test(arguments: 0..<120)
    func randomNetworkMatchesItsGraph(_ seed: Int) throws {
        let smooth = seed % 3 == 0
        let shape = [[5, 4, 3], [1, 6, 2], [4, 4, 1], [3, 7, 4]][seed % 4]
        let normalised = seed >= 60
        let model = RandomModel(
            seed: seed, steps: 4 + seed % 14, channels: shape[2], smooth: smooth, normalised: normalised)
        let rows = 1 + seed % 4
        let replica = try TestReplica(
            model, input: shape, objective: seed % 5 == 4 ? .meanSquaredError : .crossEntropy(labelSmoothing: 0.1),
            capacity: rows + 2, threads: 1 + seed % 3)
        let labels = (0..<rows).map { ($0 + seed) % 4 }
        let inputs = ReferenceTensor.random([rows] + shape, seed: seed)

        // Larger runs and evaluations in between leave their traces in the memory that they share.
        replica.step(ReferenceTensor.random([rows + 2] + shape, seed: 1), labels: (0..<rows + 2).map { $0 % 4 })
        if normalised { replica.moveRunningStatistics() }
        let evaluated = replica.evaluate(inputs, labels: labels)
        let mixing =
            seed % 4 == 1 ? (partners: labels.map { ($0 + 1) % 4 }, weights: labels.map { 0.25 * Double($0) }) : nil
        let loss = replica.step(inputs, labels: labels, mixing: mixing)
        let expected = try GraphOracle(
            graph: replica.replica.trainingGraph, parameters: replica.parameters, mixing: mixing
        ).run(inputs, labels: labels)
        let expectedOutput = try GraphOracle(
            graph: replica.replica.evaluationGraph, parameters: replica.parameters
        ).run(inputs, labels: labels).output

        expectMatches(evaluated.outputs, expectedOutput, "evaluated output")
        expectMatches(
            ReferenceTensor(expected.output.shape, replica.outputs.map(Double.init)), expected.output, "trained output")
        #expect(abs(loss.sum - expected.loss) <= 1e-5 * max(1, expected.loss))
        #expect(Set(replica.parameterNames) == Set(expected.gradients.keys))
        let largest = expected.gradients.values.flatMap(\.values).reduce(0) { max($0, abs($1)) }
        for (name, gradient) in expected.gradients {
            // Batch norm amplifies rounding: the gradient of a bias before it is zero but for that.
            expectMatches(
                replica.gradient(name), gradient, tolerance: normalised ? 1e-4 : 2e-5, floor: largest / 100,
                "gradient of \(name)")
        }
        if smooth, mixing == nil { expectFiniteDifferences(replica, inputs, labels, "random network") }
    }

    /// Layers that each read the channels of all before them; the transition reads them, and so does `besides`.
    private final class DenseNet: Module {
        let stem = Conv2d(5, kernel: 1)
        let norms: [BatchNorm2d]
        let convolutions: [Conv2d]
        let normAfter = BatchNorm2d(epsilon: 0.1), transition = Conv2d(6, kernel: 1)
        let besides = Conv2d(3, kernel: 3, padding: 1)
        let head = Linear(4)

        init(layers: Int) {
            norms = (0..<layers).map { _ in BatchNorm2d(epsilon: 0.1) }
            convolutions = (0..<layers).map { _ in Conv2d(4, kernel: 3, padding: 1, bias: false) }
        }

        func callAsFunction(_ x: Value) -> Value {
            let pooled = averagePool(stem(x), kernel: 2)
            let dense = zip(norms, convolutions).reduce(pooled) { y, layer in
                concatenate([y, layer.1(relu(layer.0(y)))])
            }
            // A second concatenation, whose slice the dense block cannot be: a convolution reads it as it is.
            let wide = concatenate([tanh(besides(dense)), dense])
            let reduced = averagePool(transition(relu(normAfter(dense))), kernel: 2)
            return head(flatten(concatenate([reduced, averagePool(wide, kernel: 2)])))
        }
    }

    @Test(arguments: 1...3) func denseBlockMatchesItsGraph(threads: Int) throws {
        let replica = try TestReplica(DenseNet(layers: 4), input: [8, 8, 3], capacity: 6, threads: threads)
        replica.step(ReferenceTensor.random([6, 8, 8, 3], seed: 1), labels: [0, 1, 2, 3, 0, 1])
        replica.moveRunningStatistics()
        let (inputs, labels) = (ReferenceTensor.random([5, 8, 8, 3], seed: 2), [3, 2, 1, 0, 3])
        let evaluated = replica.evaluate(inputs, labels: labels)
        replica.step(inputs, labels: labels)
        let expected = try GraphOracle(graph: replica.replica.trainingGraph, parameters: replica.parameters)
            .run(inputs, labels: labels)
        let expectedOutput = try GraphOracle(
            graph: replica.replica.evaluationGraph, parameters: replica.parameters
        ).run(inputs, labels: labels).output
        expectMatches(evaluated.outputs, expectedOutput, "evaluated output")
        let largest = expected.gradients.values.flatMap(\.values).reduce(0) { max($0, abs($1)) }
        for (name, gradient) in expected.gradients {
            expectMatches(
                replica.gradient(name), gradient, tolerance: 1e-4, floor: largest / 100, "gradient of \(name)")
        }
    }

    /// Each layer of a dense block adds its own channels to one buffer: memory grows as their number, not as its square.
    @Test func denseBlocksSharePixels() throws {
        func arenaCount(layers: Int) throws -> Int {
            let graph = try Graph.trace(
                DenseNet(layers: layers), input: [32, 32, 3], mode: .training, objective: .crossEntropy())
            return Plan(graph, layout: graph.parameterLayout(), capacity: 4, threads: 1).arenaCount
        }
        let counts = try (0..<3).map { try arenaCount(layers: 4 << $0) }
        // Two lines through three points, in multiples of four layers.
        #expect(Double(counts[2] - counts[1]) < 2.2 * Double(counts[1] - counts[0]), "\(counts)")
    }

    /// The same bits again with the same threads; the same values, to rounding, with others.
    @Test func resultsAreReproducible() throws {
        let shape = [6, 5, 2]
        let inputs = ReferenceTensor.random([5] + shape, seed: 4)
        func gradients(threads: Int) throws -> [Float] {
            let model = RandomModel(seed: 8, steps: 14, channels: 2, smooth: true)
            let replica = try TestReplica(model, input: shape, capacity: 5, threads: threads)
            replica.step(inputs, labels: [0, 1, 2, 3, 0])
            return replica.replica.gradients.array()
        }
        let one = try gradients(threads: 1)
        for threads in 1...4 {
            let first = try gradients(threads: threads)
            #expect(try gradients(threads: threads) == first)
            expectMatches(
                ReferenceTensor([one.count], first.map(Double.init)),
                ReferenceTensor([one.count], one.map(Double.init)),
                "\(threads) threads")
        }
    }

    /// Splitting a batch into runs and adding up gives the gradients of the batch.
    @Test func gradientsOfShardsAddUp() throws {
        let shape = [5, 5, 3]
        let inputs = ReferenceTensor.random([7] + shape, seed: 6)
        let labels = [0, 1, 2, 3, 3, 2, 1]
        let model = RandomModel(seed: 12, steps: 12, channels: 3, smooth: false)
        let replica = try TestReplica(model, input: shape, capacity: 7, threads: 2)
        let whole = replica.step(inputs, labels: labels).sum
        let expected = replica.replica.gradients.array().map(Double.init)
        var sum = [Double](repeating: 0, count: expected.count)
        var loss = 0.0
        for part in [0..<3, 3..<4, 4..<7] {
            let size = shape.reduce(1, *)
            let rows = ReferenceTensor(
                [part.count] + shape, Array(inputs.values[part.lowerBound * size..<part.upperBound * size]))
            loss += replica.step(rows, labels: Array(labels[part]), firstPosition: part.lowerBound).sum
            for (index, value) in replica.replica.gradients.array().enumerated() { sum[index] += Double(value) }
        }
        #expect(abs(loss - whole) <= 1e-5 * whole)
        expectMatches(ReferenceTensor([sum.count], sum), ReferenceTensor([sum.count], expected), "sum over runs")
    }

    /// A layer that is called for nothing has a gradient of zero from the start; it holds up no other one's.
    @Test func gradientsAreReadyBesideAnUnusedLayer() throws {
        final class WithUnused: Module {
            let fc1 = Linear(5)
            let unused = Linear(3)
            let fc2 = Linear(4)
            func callAsFunction(_ x: Value) -> Value {
                let hidden = tanh(fc1(flatten(x)))
                _ = unused(hidden)
                return fc2(hidden)
            }
        }
        let replica = try TestReplica(WithUnused(), input: [3, 2, 2], capacity: 2, threads: 2)
        // `step` expects every gradient to be reported.
        replica.step(ReferenceTensor.random([2, 3, 2, 2], seed: 4), labels: [3, 0])
        #expect(replica.gradient("unused.weight").values.allSatisfy { $0 == 0 })
    }

    /// Convolution, bias and activation are one pass; a pooled maximum takes ReLU with it.
    @Test func activationsAreFusedIntoTheirProducers() throws {
        final class Fusible: Module {
            let conv = Conv2d(2, kernel: 3)
            let fc = Linear(3)
            func callAsFunction(_ x: Value) -> Value { tanh(fc(flatten(relu(maxPool(relu(conv(x)), kernel: 2))))) }
        }
        let graph = try Graph.trace(Fusible(), input: [6, 6, 1], mode: .training, objective: .crossEntropy())
        let plan = Plan(graph, layout: graph.parameterLayout(), capacity: 2, threads: 1)
        #expect(
            graph.nodes.map(\.operation.name) == [
                "convolution", "relu", "maxPool", "relu", "reshape", "linear", "tanh", "crossEntropy",
            ])
        #expect(
            plan.graph.nodes.map(\.operation.name) == ["convolution", "maxPool", "reshape", "linear", "crossEntropy"])
    }

    /// A value that two layers read keeps its own memory: its activation is not moved into the producer.
    @Test func aSharedValueIsNotFused() throws {
        final class Shared: Module {
            let conv = Conv2d(2, kernel: 3)
            func callAsFunction(_ x: Value) -> Value {
                let y = conv(x)
                return flatten(relu(y) + y)
            }
        }
        let graph = try Graph.trace(Shared(), input: [6, 6, 1], mode: .training, objective: .crossEntropy())
        let plan = Plan(graph, layout: graph.parameterLayout(), capacity: 2, threads: 1)
        #expect(plan.graph.nodes.contains { $0.operation.name == "relu" })
    }
}
