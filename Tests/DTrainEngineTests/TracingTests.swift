import DTrainLayers
import DTrainTensor
import Testing

/// A model becomes a graph: names from properties, shared layers, and errors that say which layer does not fit and why.
@Suite struct TracingTests {
    private final class Block: Module {
        let conv = Conv2d(4, kernel: 3, padding: 1)
        let projection: Conv2d?
        init(projects: Bool) { projection = projects ? Conv2d(4, kernel: 1, bias: false) : nil }
        func callAsFunction(_ x: Value) -> Value { relu(conv(x)) + (projection?(x) ?? x) }
    }

    private final class Nested: Module {
        let stem = Sequential(Conv2d(3, kernel: 3), Block(projects: true))
        let blocks = [Block(projects: false), Block(projects: true)]
        let heads = (first: Linear(2), second: Linear(3))
        func callAsFunction(_ x: Value) -> Value {
            let y = flatten(blocks.reduce(stem(x)) { $1($0) })
            return concatenate([heads.first(y), heads.second(y)])
        }
    }

    private func graph(_ model: any Module, _ input: Shape = [6, 6, 1], mode: Mode = .training) throws -> Graph {
        try Graph.trace(model, input: input, mode: mode, objective: .crossEntropy())
    }

    @Test func parametersAreNamedByTheirProperties() throws {
        #expect(
            try graph(Nested()).parameters.map(\.name) == [
                "stem.0.weight", "stem.0.bias", "stem.1.conv.weight", "stem.1.conv.bias", "stem.1.projection.weight",
                "blocks.0.conv.weight", "blocks.0.conv.bias", "blocks.1.conv.weight", "blocks.1.conv.bias",
                "blocks.1.projection.weight", "heads.first.weight", "heads.first.bias", "heads.second.weight",
                "heads.second.bias",
            ])
    }

    /// Last layer first, each on 64 bytes, in PyTorch's shapes.
    @Test func arenaFollowsTheWayBack() throws {
        let layout = try graph(Nested()).parameterLayout()
        #expect(layout.segments.first?.name == "heads.second.bias")
        #expect(layout.segments.last?.name == "stem.0.weight")
        #expect(layout.segments.allSatisfy { $0.range.lowerBound % 16 == 0 })
        for (segment, next) in zip(layout.segments, layout.segments.dropFirst()) {
            #expect(
                next.range.lowerBound - segment.range.upperBound < 16
                    && next.range.lowerBound >= segment.range.upperBound)
        }
        let shapes = Dictionary(uniqueKeysWithValues: layout.segments.map { ($0.name, $0.shape) })
        #expect(shapes["stem.0.weight"] == [3, 1, 3, 3])
        #expect(shapes["heads.first.weight"] == [2, 64])
    }

    /// One layer called twice has one weight, and its gradient is the sum over both calls.
    @Test func aLayerCalledTwiceSharesItsWeight() throws {
        final class Shared: Module {
            let conv = Conv2d(2, kernel: 3, padding: 1)
            let fc = Linear(3)
            func callAsFunction(_ x: Value) -> Value { fc(flatten(tanh(conv(tanh(conv(x)))))) }
        }
        let replica = try TestReplica(Shared(), input: [4, 4, 2], capacity: 2, threads: 2)
        #expect(replica.parameterNames.sorted() == ["conv.bias", "conv.weight", "fc.bias", "fc.weight"])
        let inputs = ReferenceTensor.random([2, 4, 4, 2], seed: 3)
        replica.step(inputs, labels: [0, 2])
        let expected = try GraphOracle(graph: replica.replica.trainingGraph, parameters: replica.parameters)
            .run(inputs, labels: [0, 2])
        for (name, gradient) in expected.gradients { expectMatches(replica.gradient(name), gradient, name) }
        expectFiniteDifferences(replica, inputs, [0, 2], "shared")
    }

    @Test func dropoutExistsInTrainingAlone() throws {
        final class Dropped: Module {
            let dropout = Dropout(0.3)
            let fc = Linear(3)
            func callAsFunction(_ x: Value) -> Value { fc(dropout(flatten(x))) }
        }
        #expect(try graph(Dropped()).nodes.contains { $0.operation.name == "dropout" })
        #expect(try !graph(Dropped(), mode: .evaluation).nodes.contains { $0.operation.name == "dropout" })
    }

    // MARK: Errors

    private final class Wrapped: Module {
        let layer: any Module
        init(_ layer: any Module) { self.layer = layer }
        func callAsFunction(_ x: Value) -> Value { flatten(layer(x)) }
    }

    private final class Function: Module {
        let body: (Value) -> Value
        init(_ body: @escaping (Value) -> Value) { self.body = body }
        func callAsFunction(_ x: Value) -> Value { body(x) }
    }

    /// The error of tracing `model`, which must have one.
    private func error(_ model: any Module, _ input: Shape = [6, 6, 3]) throws -> GraphError {
        try #require(throws: GraphError.self) { _ = try graph(model, input) }
    }

    @Test func aLayerThatDoesNotFitIsNamed() throws {
        let tooLarge = try error(Wrapped(Conv2d(2, kernel: 9)))
        #expect(tooLarge.place == "layer" && tooLarge.reason.contains("9") && tooLarge.reason.contains("6"))
        let groups = try error(Wrapped(Conv2d(4, kernel: 3, groups: 2)))
        #expect(groups.place == "layer" && groups.reason.contains("2 groups") && groups.reason.contains("3"))
        #expect(try error(Wrapped(Conv2d(2, kernel: 3, stride: 0))).reason.contains("stride 0"))
        #expect(try error(Wrapped(Conv1d(2, kernel: 3))).reason.contains("6×6×3"))
        #expect(try error(Wrapped(Conv2d(2, kernel: 3)), [12]).reason.contains("12"))
        #expect(try error(Wrapped(Dropout(1))).reason.contains("1.0"))
    }

    @Test func otherLayersThatDoNotFitAreNamed() throws {
        let groups = try error(Wrapped(GroupNorm(2)))
        #expect(groups.place == "layer" && groups.reason.contains("2 groups") && groups.reason.contains("3"))
        #expect(try error(Wrapped(InstanceNorm2d()), [12]).reason.contains("12"))
        #expect(try error(Wrapped(ConvTranspose2d(4, kernel: 3, groups: 2))).reason.contains("2 groups"))
        #expect(try error(Wrapped(ConvTranspose2d(4, kernel: 3)), [5, 3]).reason.contains("5×3"))
        let more = try error(Wrapped(ConvTranspose2d(4, kernel: 3, stride: 2, outputPadding: 2)))
        #expect(more.place == "layer" && more.reason.contains("output padding 2"))
        #expect(try error(Wrapped(ConvTranspose2d(4, kernel: 1, padding: 3))).reason.contains("no output"))
        #expect(try error(Wrapped(ConvTranspose2d(4, kernel: 3, stride: 0))).reason.contains("stride 0"))
    }

    @Test func functionsThatDoNotFitAreNamed() throws {
        #expect(try error(Function { flatten($0 + maxPool($0, kernel: 2)) }).reason.contains("6×6×3"))
        #expect(try error(Function { flatten(concatenate([$0, maxPool($0, kernel: 2)])) }).reason.contains("3×3×3"))
        #expect(try error(Function { flatten(maxPool($0, kernel: 2, padding: 2)) }).place == "maxPool")
        #expect(try error(Function { flatten(averagePool($0, kernel: 20)) }).place == "averagePool")
        #expect(try error(Function { flatten(leakyReLU($0, slope: 0)) }).reason.contains("slope"))
        #expect(try error(Function { flatten(adaptiveAveragePool($0, to: 0)) }).place == "adaptiveAveragePool")
        #expect(try error(Function { adaptiveMaxPool(flatten($0), to: 2) }).reason.contains("108"))
        #expect(try error(Function { flatten(localResponseNorm($0, size: 0)) }).place == "localResponseNorm")
        #expect(try error(Function { flatten(zeroPaddingShortcut($0, channels: 2, stride: 2)) }).reason.contains("3"))
        #expect(try error(Function { flatten(zeroPaddingShortcut($0, channels: 4, stride: 0)) }).reason.contains("0"))
        #expect(try error(Function { flatten($0 * maxPool($0, kernel: 2)) }).reason.contains("6×6×3"))
        #expect(try error(Function { reshape($0, to: [7]) }).reason.contains("108"))
        // Cross-entropy needs one row of logits a sample.
        #expect(try error(Function { $0 }).reason.contains("6×6×3"))
    }

    /// A layer that no property keeps has no name, so its parameters could not be saved.
    @Test func aLayerOutsideTheModelIsAnError() throws {
        let stray = Linear(3)
        let error = try error(Function { stray(flatten($0)) })
        #expect(error.place == "Linear" && error.reason.contains("property"))
    }

    @Test func aSharedLayerWithTwoInputSizesIsAnError() throws {
        final class Twice: Module {
            let fc = Linear(3)
            func callAsFunction(_ x: Value) -> Value { fc(fc(flatten(x))) }
        }
        let error = try error(Twice())
        #expect(error.place == "fc" && error.reason.contains("3×108") && error.reason.contains("3×3"))
    }
}
