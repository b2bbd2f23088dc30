import DTrainEngine
import DTrainLayers
import DTrainTensor
import Testing

/// Linear and recurrent layers in bf16.
@Suite struct BF16LayerTests {
    private static let lengths = [7, 5, 5, 3, 2, 1]
    private static let tokens = lengths.reduce(0, +)

    /// Every token of the batch has a row of its own in the embedding, whose gradient is then that of the layer's input.
    private final class Probe: ModuleContainer {
        let embedding: DTrainLayers.Embedding
        let layer: any Module

        init(features: Int, _ layer: any Module) {
            embedding = DTrainLayers.Embedding(features)
            self.layer = layer
        }

        var children: [(name: String, module: any Module)] { [("embedding", embedding), ("layer", layer)] }
        func callAsFunction(_ tokens: Value) -> Value { layer(embedding(tokens)) }
    }

    private func replica(
        _ layer: any Module, features: Int, threads: Int, precision: Precision
    ) throws -> TestReplica {
        try TestReplica(
            Probe(features: features, layer), reading: .tokens(vocabulary: Self.tokens, longest: Self.lengths[0]),
            objective: .meanSquaredError, capacity: Self.lengths.count, threads: threads, precision: precision)
    }

    private static func labels(outputs: Int) -> [Int] { (0..<tokens).map { (3 * $0 + 1) % outputs } }

    private func batch(outputs: Int) -> TokenSequences {
        TokenSequences(
            tokens: Array(0..<Self.tokens), lengths: Self.lengths, labels: Self.labels(outputs: outputs))
    }

    /// Against the textbook on rounded factors: what is left is the rounding of fp32 sums.
    @Test(arguments: [(16, 16), (19, 37), (130, 65)], 1...3)
    func linearMultipliesRoundedFactors(_ extents: (inputs: Int, outputs: Int), threads: Int) throws {
        let (inputs, outputs) = extents
        let replica = try replica(DTrainLayers.Linear(outputs), features: inputs, threads: threads, precision: .bf16)
        replica.step(batch(outputs: outputs))
        let x = replica["embedding.weight"].map(bf16)
        let weight = replica["layer.weight"].map(bf16)
        let y = LinearOracle.forward(x, weight: weight, bias: replica["layer.bias"])
        let actual = replica.outputs
        expectMatches(ReferenceTensor(y.shape, actual.map(Double.init)), y, tolerance: 1e-5, "output")

        let labels = Self.labels(outputs: outputs)
        let dy = ReferenceTensor(
            y.shape,
            actual.enumerated().map { Double(2 * ($1 - ($0 % outputs == labels[$0 / outputs] ? 1 : 0))) })
        let gradients = LinearOracle.gradients(x, weight: weight, outputGradient: dy.map(bf16))
        expectMatches(replica.gradient("layer.weight"), gradients.weight, tolerance: 1e-5, "weight gradient")
        expectMatches(replica.gradient("embedding.weight"), gradients.x, tolerance: 1e-5, "input gradient")
        // A sum, not a product.
        let bias = LinearOracle.gradients(x, weight: weight, outputGradient: dy).bias
        expectMatches(replica.gradient("layer.bias"), bias, tolerance: 1e-5, "bias gradient")
    }

    /// Layers of a recurrent network, with odd extents.
    enum Network: CaseIterable {
        case rnn, reluRNN, lstm, gru

        func layer() -> any Module {
            switch self {
            case .rnn: RNN(17, layers: 2, bidirectional: true)
            case .reluRNN: RNN(33, relu: true)
            case .lstm: LSTM(17, layers: 2, bidirectional: true)
            case .gru: GRU(21, layers: 2, bidirectional: true)
            }
        }
        var outputs: Int { self == .reluRNN ? 33 : self == .gru ? 42 : 34 }
    }

    /// Rounding moves a product of n terms by about 2⁻⁹ of its norm, and every gradient has several of them behind it.
    @Test(arguments: Network.allCases, 1...3)
    func recurrentGradientsAreThoseOfFP32ButForRounding(_ network: Network, threads: Int) throws {
        let exact = try replica(network.layer(), features: 19, threads: threads, precision: .fp32)
        let rounded = try replica(network.layer(), features: 19, threads: threads, precision: .bf16)
        let batch = batch(outputs: network.outputs)
        for name in exact.parameterNames {
            exact[name] = .random(
                exact[name].shape, seed: name.utf8.reduce(0) { 31 * $0 % 997 + Int($1) }, in: -0.4...0.4)
            rounded[name] = exact[name]
        }
        exact.step(batch)
        rounded.step(batch)
        for name in exact.parameterNames {
            let difference = Self.difference(rounded.gradient(name), exact.gradient(name))
            #expect(difference < 0x1p-7, "\(name)")
            #expect(difference > 0x1p-14, "\(name) is not in bf16")
        }

        let bits = rounded.replica.gradients.array().map(\.bitPattern)
        rounded.step(batch)
        #expect(rounded.replica.gradients.array().map(\.bitPattern) == bits, "two runs differ")

        // Evaluation knows nothing of it.
        exact.evaluate(batch)
        rounded.evaluate(batch)
        #expect(exact.replica.outputs.array() == rounded.replica.outputs.array())
    }

    /// ‖a − b‖ / ‖b‖.
    private static func difference(_ a: ReferenceTensor, _ b: ReferenceTensor) -> Double {
        let distance = a + b.map { -$0 }
        return (distance.dot(distance) / b.dot(b)).squareRoot()
    }

    /// Layers whose products are no faster in bf16 stay in fp32, bit for bit.
    @Test(arguments: [(15, 40), (40, 15)])
    func smallLayersStayFP32(_ extents: (inputs: Int, outputs: Int)) throws {
        let outputs = extents.outputs
        let layers: [any Module] = [DTrainLayers.Linear(outputs), LSTM(outputs)]
        for layer in layers {
            let replicas = try Precision.allCases.map {
                try replica(layer, features: extents.inputs, threads: 1, precision: $0)
            }
            for replica in replicas { replica.step(batch(outputs: outputs)) }
            #expect(replicas[0].replica.gradients.array() == replicas[1].replica.gradients.array())
            #expect(replicas.allSatisfy { !$0.replica.multipliesBF16 })
        }
    }
}
