import DTrainEngine
import DTrainLayers
import DTrainTensor
import Testing

/// Batch normalisation against its oracle, and the oracle against PyTorch.
@Suite struct BatchNormTests {
    private static let file = "batch_norm_cases.json"

    @Test func oracleMatchesPyTorch() throws {
        for reference in try TorchCase.load("batch_norm", from: Self.file) {
            let oracle = BatchNormOracle(epsilon: try reference.setting("epsilon")[0])
            let x = try reference("x")
            let weight = reference.has("weight") ? try reference("weight") : nil
            let bias = reference.has("bias") ? try reference("bias") : nil
            let statistics = oracle.statistics(x)
            let name = reference.testDescription
            expectClose(
                oracle.forward(x, statistics, weight: weight, bias: bias), try reference("y"), tolerance: 1e-9, name)
            let gradients = oracle.gradients(
                x, statistics, isConstant: false, weight: weight, outputGradient: try reference("outputGradient"))
            expectClose(gradients.x, try reference("dx"), tolerance: 1e-9, name + " dx")
            guard weight != nil else { continue }
            expectClose(gradients.weight, try reference("dweight"), tolerance: 1e-9, name + " dweight")
            expectClose(gradients.bias, try reference("dbias"), tolerance: 1e-9, name + " dbias")
        }
    }

    /// Outputs, running statistics and the evaluation that follows from them, by the engine itself.
    @Test func runningStatisticsMatchPyTorch() throws {
        for reference in try TorchCase.load("batch_norm", from: Self.file) {
            let name = reference.testDescription
            let x = try reference("x")
            let momentum = try reference.setting("momentum")[0]
            let replica = try TestReplica(
                OneBatchNorm(
                    shape: Array(x.shape.dropFirst()), epsilon: Float(try reference.setting("epsilon")[0]),
                    momentum: momentum < 0 ? nil : Float(momentum),
                    affine: reference.has("weight")),
                input: Array(x.shape.dropFirst()), capacity: x.shape[0], threads: 2)
            for buffer in ["running_mean", "running_var"] { replica["norm." + buffer] = try reference(buffer) }
            for parameter in ["weight", "bias"] where reference.has(parameter) {
                replica["norm." + parameter] = try reference(parameter)
            }
            let labels = [Int](repeating: 0, count: x.shape[0])
            for _ in 0..<Int(try reference.setting("steps")[0]) {
                replica.step(x, labels: labels)
                replica.replica.updateRunningStatistics(with: replica.replica.statistics)
            }
            for buffer in ["running_mean", "running_var"] {
                expectMatches(replica["norm." + buffer], try reference(buffer + "_after"), "\(name): \(buffer)")
            }
            #expect(replica.counter("norm.num_batches_tracked") == Int64(try reference("tracked_after").values[0]))
            let evaluated = replica.evaluate(x, labels: labels).outputs
            let expected = try reference("evaluated")
            let image =
                expected.shape.count == 3 ? [x.shape[0], 1, x.shape[1], x.shape[2]] : expected.shape
            let flat = expected.shape.count == 2 ? expected : ShapeOracle.flatten(expected.reshaped(image))
            expectMatches(evaluated, flat, "\(name): evaluated")
        }
    }

    private final class OneBatchNorm: Module {
        let norm: any Module
        /// Something to train where the batch-norm has no parameters.
        let side: DTrainLayers.Linear

        init(shape: [Int], epsilon: Float, momentum: Float?, affine: Bool) {
            side = DTrainLayers.Linear(shape.reduce(1, *))
            norm =
                shape.count == 3
                ? BatchNorm2d(epsilon: epsilon, momentum: momentum, affine: affine)
                : BatchNorm1d(epsilon: epsilon, momentum: momentum, affine: affine)
        }
        func callAsFunction(_ x: Value) -> Value {
            let y = flatten(norm(x))
            auxiliaryLoss(side(y), weight: 1)
            return y
        }
    }

    @Test(arguments: [[7, 6, 5], [3, 3, 16], [2, 9, 32], [4, 5, 49], [1, 1, 3], [20, 17, 8]], 1...3)
    func gradientsMatchOracle(_ shape: [Int], threads: Int) throws {
        for affine in [true, false] {
            let oracle = BatchNormOracle(epsilon: 0.01)
            let weight = ReferenceTensor.random([shape[2]], seed: 3, in: 0.5...2)
            let bias = ReferenceTensor.random([shape[2]], seed: 4)
            let layer = BatchNorm2d(epsilon: 0.01, affine: affine)
            try OperationCheck(
                inputs: [shape], layer: layer, parameters: affine ? ["weight": weight, "bias": bias] : [:], rows: 5,
                threads: threads, range: -1...3, evaluatesInTraining: true, apply: { layer($0[0]) },
                forward: {
                    oracle.forward(
                        $0[0], oracle.statistics($0[0]), weight: affine ? weight : nil, bias: affine ? bias : nil)
                },
                gradients: { x, dy in
                    let result = oracle.gradients(
                        x[0], oracle.statistics(x[0]), isConstant: false, weight: affine ? weight : nil,
                        outputGradient: dy)
                    return ([result.x], affine ? ["weight": result.weight, "bias": result.bias] : [:])
                }
            ).run("batch norm of \(shape), affine \(affine)")
        }
    }

    /// Means far from zero beside small deviations cost no more digits than fp32 input has.
    @Test func aLargeMeanKeepsTheVariance() throws {
        let x = ReferenceTensor.random([8, 5, 5, 3], seed: 9, in: 1000...1001)
        let replica = try TestReplica(
            OneBatchNorm(shape: [5, 5, 3], epsilon: 1e-5, momentum: 1, affine: false), input: [5, 5, 3], capacity: 8,
            threads: 2)
        replica.step(x, labels: [Int](repeating: 0, count: 8))
        replica.replica.updateRunningStatistics(with: replica.replica.statistics)
        let statistics = BatchNormOracle().statistics(x)
        let unbiased = statistics.variance.map { $0 * 200 / 199 }
        expectMatches(replica["norm.running_mean"], ReferenceTensor([3], statistics.mean), tolerance: 1e-6, "mean")
        expectMatches(replica["norm.running_var"], ReferenceTensor([3], unbiased), tolerance: 1e-4, "variance")
    }

    /// The convolution takes batch norm, sum and ReLU along, in training and in evaluation.
    @Test func batchNormIsFused() throws {
        final class Block: Module {
            let conv1 = Conv2d(3, kernel: 3, padding: 1, bias: false)
            let conv2 = Conv2d(3, kernel: 1)
            let bn1 = BatchNorm2d()
            let bn2 = BatchNorm2d()
            func callAsFunction(_ x: Value) -> Value {
                let y = relu(bn1(conv1(x)))
                return flatten(relu(bn2(conv2(y)) + y))
            }
        }
        func names(_ mode: Mode) throws -> [String] {
            let graph = try Graph.trace(Block(), input: [4, 4, 3], mode: mode, objective: nil)
            return Plan(graph, layout: graph.parameterLayout(), capacity: 2, threads: 1).graph.nodes.map(
                \.operation.name)
        }
        #expect(try names(.training) == ["convolution", "convolution", "reshape", "transpose"])
        #expect(try names(.evaluation) == ["convolution", "convolution", "reshape", "transpose"])
    }

    /// What a batch norm makes for one convolution alone is never written: the convolution normalises what it reads, whether
    /// the batch norm is part of another convolution or stands for itself.
    @Test func normalizationIsLeftToTheOnlyReader() throws {
        final class Chain: Module {
            let norm0 = BatchNorm2d()
            let conv1 = Conv2d(4, kernel: 3, padding: 1)
            let norm1 = BatchNorm2d()
            let conv2 = Conv2d(4, kernel: 1)
            let norm2 = BatchNorm2d()
            let conv3 = Conv2d(4, kernel: 1)
            func callAsFunction(_ x: Value) -> Value {
                let y = relu(norm2(conv2(relu(norm1(conv1(relu(norm0(maxPool(x, kernel: 2)))))))))
                return flatten(conv3(y) + y)
            }
        }
        final class First: Module {
            let conv1 = Conv2d(4, kernel: 3)
            let norm1 = BatchNorm2d()
            let conv2 = Conv2d(4, kernel: 1)
            func callAsFunction(_ x: Value) -> Value { flatten(conv2(norm1(conv1(x)))) }
        }
        func operations(_ model: any Module, threads: Int = 1) throws -> [any Operation] {
            let graph = try Graph.trace(model, input: [8, 8, 3], mode: .training, objective: nil)
            let plan = Plan(graph, layout: graph.parameterLayout(), capacity: 2, threads: threads)
            return plan.graph.nodes.map(\.operation)
        }
        let chain = try operations(Chain())
        #expect(chain.compactMap { $0.measuredBatchNorm?.isDeferred } == [true, true, false])
        #expect(chain.compactMap { ($0 as? Convolution)?.normalizesInput } == [true, true, false])
        #expect(try operations(First()).compactMap { $0.measuredBatchNorm?.isDeferred } == [true])
        // A reader's threads share samples: there must be enough of them.
        #expect(try operations(First(), threads: 2).compactMap { $0.measuredBatchNorm?.isDeferred } == [false])
    }

    /// A dense block's layer: its second batch-norm measures the input of the first, and what the convolution adds.
    private final class DenseLayer: Module {
        let conv0 = Conv2d(18, kernel: 1)
        let norm1 = BatchNorm2d()
        let conv1 = Conv2d(5, kernel: 3, padding: 1)
        let norm2: BatchNorm2d
        let fc = DTrainLayers.Linear(4)
        private let isLast: Bool

        init(epsilon: Float = 1e-5, isLast: Bool = false) {
            norm2 = BatchNorm2d(epsilon: epsilon)
            self.isLast = isLast
        }
        func callAsFunction(_ x: Value) -> Value {
            let a = conv0(x)
            let b = conv1(relu(norm1(a)))
            return fc(flatten(relu(norm2(concatenate(isLast ? [b, a] : [a, b])))))
        }
    }

    @Test func aBatchNormKnowsWhatAnEarlierOneHasMeasured() throws {
        /// The batch-norm that each of the two knows, by its path.
        func known(_ layer: DenseLayer, synchronised: Bool = false, frozen: String = "none") throws -> [String?] {
            let graph = try Graph.trace(
                layer, input: [4, 4, 3],
                TraceOptions(
                    .training, objective: nil, isFrozen: { $0.hasPrefix(frozen) },
                    synchronisesBatchNorm: synchronised))
            let plan = Plan(graph, layout: graph.parameterLayout(), capacity: 2, threads: 1).graph
            return plan.nodes.indices.filter { plan.nodes[$0].operation is BatchNorm }.map {
                plan.batchNormOfFirstPart($0).map { plan.nodes[$0].path }
            }
        }
        #expect(try known(DenseLayer()) == [nil, "norm1"])
        for name in ["norm1", "norm2"] { #expect(try known(DenseLayer(), frozen: name) == [nil, nil]) }
        #expect(try known(DenseLayer(epsilon: 1e-3)) == [nil, nil])
        #expect(try known(DenseLayer(isLast: true)) == [nil, nil])
        #expect(try known(DenseLayer(), synchronised: true) == [nil, nil])
    }

    /// Synchronised ones measure everything, and on one rank alone must find the same.
    @Test(arguments: [1, 3]) func knownStatisticsAreThoseThatWouldBeMeasured(threads: Int) throws {
        func replica(_ synchronised: Bool) throws -> Replica {
            let replica = try Replica(
                DenseLayer(), input: [4, 3, 3], capacity: 7, pool: ThreadPool(threadCount: threads),
                synchronisesBatchNorm: synchronised)
            replica.initialize(seed: 3)
            return replica
        }
        let inputs = ownedSlice(ReferenceTensor.random([7, 4, 3, 3], seed: 5, in: -1...2).floats)
        let labels = ownedSlice((0..<7).map { Int32($0 % 4) })
        let replicas = [try replica(false), try replica(true)]
        defer { withExtendedLifetime((replicas, inputs, labels)) {} }
        for replica in replicas {
            _ = replica.computeGradients(
                Replica.Samples(inputs: inputs.slice, labels: labels.slice), context: RankSum.alone)
        }
        func tensor(_ values: [Double]) -> ReferenceTensor { ReferenceTensor([values.count], values) }
        let gradients = replicas.map { tensor($0.gradients.array().map(Double.init)) }
        expectMatches(gradients[0], gradients[1], tolerance: 1e-5, "gradients")
        let statistics = replicas.map { tensor($0.statistics.array()) }
        expectMatches(statistics[0], statistics[1], tolerance: 1e-6, "statistics")
    }

    /// Two ranks that each hold half of a batch, with sums over both, compute what one rank computes with all of it.
    @Test func synchronisedStatisticsAreThoseOfAllRanks() throws {
        final class ThreeBatchNorms: Module {
            let conv1 = Conv2d(4, kernel: 3, padding: 1)
            let bn1 = BatchNorm2d()
            let conv2 = Conv2d(3, kernel: 3, padding: 1)
            let bn2 = BatchNorm2d()
            let fc1 = DTrainLayers.Linear(6)
            let bn3 = BatchNorm1d()
            let fc2 = DTrainLayers.Linear(4)
            func callAsFunction(_ x: Value) -> Value {
                fc2(tanh(bn3(fc1(flatten(relu(bn2(conv2(relu(bn1(conv1(x)))))))))))
            }
        }
        let shape = [4, 3, 5]
        let x = ReferenceTensor.random([6] + shape, seed: 21, in: -1...2)
        let labels = [0, 1, 2, 3, 1, 0]
        func replica(_ synchronised: Bool) throws -> (Replica, ThreadPool) {
            let pool = ThreadPool(threadCount: 2)
            let replica = try Replica(
                ThreeBatchNorms(), input: Shape(shape), capacity: 6, pool: pool, synchronisesBatchNorm: synchronised)
            replica.initialize(seed: 3)
            return (replica, pool)
        }
        let whole = try replica(false)
        #expect(!whole.0.batchNorms.isEmpty)
        let samples = (inputs: ownedSlice(x.floats), labels: ownedSlice(labels.map(Int32.init)))
        let size = shape.reduce(1, *)
        func part(_ range: Range<Int>) -> Replica.Samples {
            Replica.Samples(
                inputs: samples.inputs.slice[range.lowerBound * size..<range.upperBound * size],
                labels: samples.labels.slice[range], firstPosition: range.lowerBound)
        }
        let loss = whole.0.computeGradients(part(0..<6), context: RankSum.alone)
        let ranks = RankSum.pair()
        let halves = [try replica(true), try replica(true)]
        let parts = [0..<2, 2..<6]
        nonisolated(unsafe) let work = (0..<2).map { (halves[$0].0, part(parts[$0])) }
        let losses = onThreads(2) { work[$0].0.computeGradients(work[$0].1, context: ranks[$0]).sum }
        #expect(abs(losses[0] + losses[1] - loss.sum) <= 1e-5 * loss.sum)
        func sum(_ key: KeyPath<Replica, MemorySlice<Float>>) -> ReferenceTensor {
            let (a, b) = (halves[0].0[keyPath: key].array(), halves[1].0[keyPath: key].array())
            return ReferenceTensor([a.count], zip(a, b).map { Double($0) + Double($1) })
        }
        let expected = whole.0.gradients.array().map(Double.init)
        expectMatches(sum(\.gradients), ReferenceTensor([expected.count], expected), tolerance: 1e-5, "gradients")
        for index in 0..<whole.0.statistics.count {
            let total = halves[0].0.statistics[index] + halves[1].0.statistics[index]
            #expect(abs(total - whole.0.statistics[index]) <= 1e-5 * max(1, abs(total)))
        }
        // Without the sums the halves normalise by their own statistics, which differ.
        let own = try replica(false)
        let first = own.0.computeGradients(part(0..<2), context: RankSum.alone).sum
        #expect(abs(first - losses[0]) > 1e-3)
    }

    @Test func mixedLabelsMatchPyTorch() throws {
        for reference in try TorchCase.load("mixed_cross_entropy", from: Self.file) {
            let oracle = CrossEntropyOracle(
                smoothing: try reference.setting("smoothing")[0],
                mixing: (try reference("partners").values.map { Int($0) }, try reference("weights").values))
            let labels = try reference("labels").values.map { Int($0) }
            let x = try reference("x")
            #expect(abs(oracle.forward(x, labels: labels) - (try reference("y").values[0])) < 1e-9)
            expectClose(oracle.gradient(x, labels: labels), try reference("dx"), tolerance: 1e-9, "dx")
        }
    }
}
