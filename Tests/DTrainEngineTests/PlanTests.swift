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
        let mixing =
            seed % 4 == 1 ? (partners: labels.map { ($0 + 1) % 4 }, weights: labels.map { 0.25 * Double($0) }) : nil
        // Batch norm amplifies rounding: the gradient of a bias before it is zero but for that.
        try expectMatchesItsGraph(replica, inputs, labels, mixing: mixing, tolerance: normalised ? 1e-4 : 2e-5)
        if smooth, mixing == nil { expectFiniteDifferences(replica, inputs, labels, "random network") }
    }

    /// Evaluates and takes a step; holds outputs, loss and gradients against those of the graphs.
    private func expectMatchesItsGraph(
        _ replica: TestReplica, _ inputs: ReferenceTensor, _ labels: [Int],
        mixing: (partners: [Int], weights: [Double])? = nil, tolerance: Double
    ) throws {
        let evaluated = replica.evaluate(inputs, labels: labels)
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
            expectMatches(
                replica.gradient(name), gradient, tolerance: tolerance, floor: largest / 100, "gradient of \(name)")
        }
    }

    /// What is added to a convolution's output is not multiplied, and a value read in two roles moves once.
    @Test func aResidualThatIsTheInputIsCountedOnce() throws {
        final class Model: Module {
            let stem = Conv2d(8, kernel: 3, padding: 1)
            let conv = Conv2d(8, kernel: 3, padding: 1, bias: false)
            let bn = BatchNorm2d()
            let fc = DTrainLayers.Linear(4)
            func callAsFunction(_ x: Value) -> Value {
                let y = stem(x)
                return fc(flatten(relu(bn(conv(y)) + y)))
            }
        }
        let replica = try TestReplica(Model(), input: [5, 4, 3], capacity: 2, threads: 1)
        let block = try #require(replica.replica.operations.first { $0.path.hasPrefix("conv") })
        let (products, image) = (5 * 4 * 8 * 9 * 8, 4 * 5 * 4 * 8)
        #expect(block.forward.multiplyAdds == products && block.backward?.multiplyAdds == 2 * products)
        // Backward: the output's and the input's gradients, the input, and the output, which tells where ReLU passed.
        #expect(block.forward.sampleByteCount == 2 * image && block.backward?.sampleByteCount == 4 * image)
    }

    /// Batch-norms, convolutions and a head for graphs that tests write down.
    private final class Net: Module {
        let convolutions = (0..<12).map { Conv2d(3 + $0 % 3, kernel: 3, padding: 1) }
        let norms = (0..<12).map { _ in BatchNorm2d(epsilon: 0.1) }
        let head = Linear(4)
        private let body: (Net, Value) -> Value
        init(_ body: @escaping (Net, Value) -> Value) { self.body = body }

        func conv(_ index: Int, _ x: Value) -> Value { convolutions[index](x) }
        /// Normalises what it reads.
        func dense(_ index: Int, _ x: Value) -> Value { convolutions[index](relu(norms[index](x))) }
        func callAsFunction(_ x: Value) -> Value { head(flatten(body(self, x))) }
    }

    /// Concatenations of concatenations, whose parts others read too: before and after, as they are and normalised.
    private static let nested: [(name: String, body: @Sendable (Net, Value) -> Value)] = [
        (
            "dense block",
            { net, x in
                let block = (1...4).reduce(averagePool(net.conv(0, x), kernel: 2)) { y, layer in
                    concatenate([y, net.dense(layer, y)])
                }
                return concatenate([net.dense(5, block), tanh(net.conv(6, block)), block])
            }
        ),
        (
            "a part twice, in and beside a part",
            { net, x in
                let a = net.conv(0, x)
                return concatenate([concatenate([a, net.conv(1, x)]), a])
            }
        ),
        (
            "a part before the part that it is in",
            { net, x in
                let a = net.conv(0, x)
                let c = concatenate([a, net.conv(1, x)])
                return net.dense(2, concatenate([a, c, a]))
            }
        ),
        ("a part in two parts, one of which is normalised afterwards", { net, x in crossed(net, x) { [$0, $1] } }),
        ("the same in the other order", { net, x in crossed(net, x) { [$1, $0] } }),
        (
            "a part that is normalised after all else",
            { net, x in
                let a = averagePool(net.conv(0, x), kernel: 3, stride: 1, padding: 1)
                let c = concatenate([a, net.conv(1, x)])
                let u = net.conv(2, c)
                return concatenate([u, net.dense(3, a)])
            }
        ),
        (
            "a normalised part",
            { net, x in
                let a = averagePool(net.conv(0, x), kernel: 3, stride: 1, padding: 1)
                let c = concatenate([a, net.conv(1, x)])
                return net.norms[2](concatenate([net.norms[0](c), net.norms[1](a), a]))
            }
        ),
    ]

    private static func crossed(_ net: Net, _ x: Value, _ ordered: (Value, Value) -> [Value]) -> Value {
        let a = net.conv(0, x)
        let c = concatenate([a, net.conv(1, x)])
        let d = concatenate([net.conv(2, x), a])
        let e = concatenate(ordered(c, d))
        return concatenate([net.dense(3, d), net.dense(4, e)])
    }

    @Test(arguments: nested.map(\.name), 1...3)
    func nestedConcatenationsMatchTheirGraph(_ name: String, threads: Int) throws {
        let model = Net(Self.nested.first { $0.name == name }!.body)
        let replica = try TestReplica(model, input: [6, 6, 3], capacity: 6, threads: threads)
        replica.step(ReferenceTensor.random([6, 6, 6, 3], seed: 1), labels: [0, 1, 2, 3, 0, 1])
        replica.moveRunningStatistics()
        // Threads that share 5, 4 or 2 samples do not always have one each.
        for rows in [5, 4, 2] {
            let inputs = ReferenceTensor.random([rows, 6, 6, 3], seed: rows)
            try expectMatchesItsGraph(replica, inputs, (0..<rows).map { (3 * $0 + 1) % 4 }, tolerance: 1e-4)
        }
    }

    /// Products that are computed again, with a sum and without, of images that are normalised as they are read and of others; and
    /// products that are kept.
    @Test(arguments: 1...3) func bottlenecksMatchTheirGraph(threads: Int) throws {
        final class Bottlenecks: Module {
            let convolutions = [
                (5, false), (7, true), (9, false), (9, false), (20, true), (20, true), (9, false), (9, false),
            ]
            .map { outputs, isWide in Conv2d(outputs, kernel: isWide ? 3 : 1, padding: isWide ? 1 : 0) }
            let norms = (0..<8).map { _ in BatchNorm2d(epsilon: 0.1) }
            let head = Linear(4)
            func layer(_ index: Int, _ x: Value) -> Value { norms[index](convolutions[index](x)) }
            func callAsFunction(_ x: Value) -> Value {
                let y = relu(layer(2, relu(layer(1, relu(layer(0, x))))) + layer(3, x))
                let z = layer(6, relu(layer(5, layer(4, y)) + layer(4, y)))
                return head(flatten(relu(layer(7, z) + z)))
            }
        }
        let replica = try TestReplica(Bottlenecks(), input: [6, 5, 3], capacity: 6, threads: threads)
        for rows in [5, 6, 1, 4] {
            replica.replica.fillArena(1.5)
            let inputs = ReferenceTensor.random([rows, 6, 5, 3], seed: rows)
            try expectMatchesItsGraph(replica, inputs, (0..<rows).map { (3 * $0 + 1) % 4 }, tolerance: 1e-4)
        }
    }

    /// What batch-norms read of 1×1 kernels is kept from 129 inputs on, and that of other kernels always.
    @Test func cheapProductsAreNotKept() throws {
        final class Branches: Module {
            let first: Conv2d
            let convolutions: [Conv2d]
            let norms = (0..<6).map { _ in BatchNorm2d() }
            init(channels: Int, isDepthwise: Bool) {
                first = Conv2d(channels, kernel: 1)
                convolutions = (0..<6).map { _ in
                    isDepthwise
                        ? Conv2d(channels, kernel: 3, padding: 1, groups: channels) : Conv2d(64, kernel: 1)
                }
            }
            func callAsFunction(_ x: Value) -> Value {
                let y = first(x)
                let branches = zip(convolutions, norms).map { relu($1($0(y))) }
                return flatten(branches.dropFirst().reduce(branches[0], +))
            }
        }
        func arenaCount(channels: Int, isDepthwise: Bool = false) throws -> Int {
            let graph = try Graph.trace(
                Branches(channels: channels, isDepthwise: isDepthwise), input: [16, 16, 3], mode: .training,
                objective: .crossEntropy())
            return Plan(graph, layout: graph.parameterLayout(), capacity: 4, threads: 1).arenaCount
        }
        let image = 4 * 16 * 16 * 64
        let counts = try [120, 128, 129].map { try arenaCount(channels: $0) }
        #expect(counts[1] - counts[0] < image && counts[2] - counts[1] > 3 * image, "\(counts)")
        // Nine channels with nine positions each are nine products, too.
        let depthwise = try [8, 9].map { try arenaCount(channels: $0, isDepthwise: true) }
        #expect(depthwise[1] > depthwise[0], "\(depthwise)")
    }

    /// Each layer of a dense block adds its own channels to one buffer: memory grows as their number, not as its square.
    @Test func denseBlocksSharePixels() throws {
        func arenaCount(layers: Int) throws -> Int {
            let model = Net { net, x in
                (1...layers).reduce(net.conv(0, x)) { y, layer in concatenate([y, net.dense(layer, y)]) }
            }
            let graph = try Graph.trace(model, input: [32, 32, 3], mode: .training, objective: .crossEntropy())
            return Plan(graph, layout: graph.parameterLayout(), capacity: 4, threads: 1).arenaCount
        }
        let counts = try [3, 6, 9].map(arenaCount)
        // The second three layers cost about what the first three did.
        #expect(Double(counts[2] - counts[1]) < 1.2 * Double(counts[1] - counts[0]), "\(counts)")
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
