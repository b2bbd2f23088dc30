import DTrainEngine
import DTrainLayers
import DTrainTensor
import Testing

/// Training with images and their gradients in bf16: what is stored so, and that nothing but rounding comes of it.
@Suite(.enabled(if: Precision.bf16.obstacle == nil)) struct BF16StorageTests {
    /// Everything that can store bf16, in `width` channels and more: convolutions of every kind with and without batch norm,
    /// bias, ReLU and residual; both kinds of pooling; slices of a concatenation, a value that is copied into it, and its own place
    /// inside another one.
    private final class Net: Module {
        let stem: Conv2d, narrow: Conv2d, wide: Conv2d, grouped: Conv2d, down: Conv2d, plain: Conv2d, dense: Conv2d
        let norms: [BatchNorm2d]
        let apart = BatchNorm2d()
        let before = BatchNorm2d()
        let fc = DTrainLayers.Linear(7)
        let isSmooth: Bool

        init(width: Int, isSmooth: Bool) {
            self.isSmooth = isSmooth
            stem = Conv2d(width, kernel: 3, padding: 1, bias: false)
            narrow = Conv2d(width, kernel: 1)
            wide = Conv2d(width + 8, kernel: 3, padding: 1, bias: false)
            // Groups of 8 and of 4 channels have ways of their own.
            grouped = Conv2d(width, kernel: 3, padding: 1, groups: [32: 8, 48: 6][width] ?? 2, bias: false)
            down = Conv2d(width, kernel: 3, stride: 2, padding: 1)
            plain = Conv2d(width, kernel: 1)
            dense = Conv2d(width + 3, kernel: 3, padding: 1, bias: false)
            norms = (0..<4).map { _ in BatchNorm2d() }
        }

        func callAsFunction(_ x: Value) -> Value {
            func relu(_ x: Value) -> Value { isSmooth ? x : DTrainLayers.relu(x) }
            var y = relu(norms[0](stem(x)))
            y =
                isSmooth
                ? averagePool(y, kernel: 3, stride: 2, padding: 1) : maxPool(y, kernel: 3, stride: 2, padding: 1)
            // Read by one convolution alone, and a residual.
            let inner = relu(norms[1](narrow(y)))
            y = relu(norms[2](grouped(inner)) + y)
            // `y` itself is copied: others read it, too.
            y = concatenate([relu(plain(y)), norms[3](wide(y)), averagePool(y, kernel: 3, stride: 1, padding: 1), y])
            // A concatenation inside another, which a batch norm reads where it lies.
            y = concatenate([y, dense(relu(before(y)))])
            y = relu(down(relu(apart(y))))
            return fc(flatten(adaptiveAveragePool(y, to: 1)))
        }
    }

    private func step(
        _ width: Int, isSmooth: Bool = false, _ precision: Precision, threads: Int, samples: Int = 5
    ) throws -> TestReplica {
        let replica = try TestReplica(
            Net(width: width, isSmooth: isSmooth), reading: .values([12, 12, 3]), capacity: 6, threads: threads,
            precision: precision)
        replica.replica.fillArena(Float(bitPattern: 0x3fc0_3fc0))
        replica.step(
            ReferenceTensor.random([samples, 12, 12, 3], seed: 5), labels: (0..<samples).map { $0 % 7 })
        return replica
    }

    @Test(.enabled(if: OneDNN.version != nil)) func imagesAreStoredInHalfTheMemory() throws {
        func plan(_ mode: Mode, _ precision: Precision) throws -> Plan {
            let graph = try Graph.trace(
                Net(width: 32, isSmooth: false), input: [48, 48, 3], mode: mode, objective: .crossEntropy())
            return Plan(graph, layout: graph.parameterLayout(), capacity: 6, threads: 1, precision: precision)
        }
        let plan16 = try plan(.training, .bf16)
        let graph = plan16.graph
        for node in graph.nodes {
            let isImage = graph.values[node.output].shape.rank == 3 && node.operation.name != "adaptiveAveragePool"
            #expect(plan16.elements[node.output] == (isImage ? .bf16 : .fp32), "\(node.operation.name)")
        }
        #expect(Double(plan16.arenaCount) < 0.7 * Double(try plan(.training, .fp32).arenaCount))
        #expect(try plan(.evaluation, .bf16).elements.allSatisfy { $0 == .fp32 })
    }

    /// A direct pass of our own reads fp32 alone: what it reads and writes stays fp32.
    @Test func otherPassesKeepFloats() throws {
        let graph = try Graph.trace(Depthwise(), input: [6, 6, 4], mode: .training, objective: .crossEntropy())
        let plan = Plan(graph, layout: graph.parameterLayout(), capacity: 2, threads: 1, precision: .bf16)
        #expect(plan.elements.allSatisfy { $0 == .fp32 })
    }

    private final class Depthwise: Module {
        let conv1 = Conv2d(4, kernel: 1)
        let conv2 = Conv2d(4, kernel: 3, groups: 4)
        func callAsFunction(_ x: Value) -> Value { flatten(conv2(conv1(x))) }
    }

    /// Without ReLU and maxima only rounding is left, about 2^-9 a value, and 1.2 % where minimal filtering rounds what it has
    /// transformed. With them a rounded value may fall on the other side
    /// of zero, and its whole gradient with it: about the root of 2^-9, 4 %, of a layer's in the norm, and more of those before
    /// it. A mask or a winner from another place would change all of it.
    @Test(
        arguments: [6, 16, 20, 32, 48],
        [(true, 1), (true, 2), (true, 3), (true, 7), (true, 50), (false, 1), (false, 3)])
    func gradientsAreThoseOfFloats(width: Int, variant: (isSmooth: Bool, threads: Int)) throws {
        let exact = try step(width, isSmooth: variant.isSmooth, .fp32, threads: 1)
        let rounded = try step(width, isSmooth: variant.isSmooth, .bf16, threads: variant.threads)
        func norm(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }
        let largest = exact.parameterNames.map { norm(exact.gradient($0).values) }.max()!
        for name in exact.parameterNames {
            let (expected, actual) = (exact.gradient(name), rounded.gradient(name))
            let error = norm(zip(expected.values, actual.values).map { $0 - $1 })
            // A batch norm takes away what a bias before it does: of such a gradient nothing but rounding is left.
            let scale = max(norm(expected.values), 0.2 * largest)
            #expect(error < (variant.isSmooth ? 0.03 : 0.4) * scale, "\(name): \(error / scale)")
        }
    }

    @Test func sameThreadsGiveTheSameBits() throws {
        let (one, other) = (try step(20, .bf16, threads: 2), try step(20, .bf16, threads: 2))
        for name in one.parameterNames { #expect(one.gradient(name).values == other.gradient(name).values, "\(name)") }
    }
}
