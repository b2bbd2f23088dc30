import DTrainLayers
import DTrainTensor
import Testing

/// What sequences must do beside the arithmetic of the layers: carry state, drop alike on any shard, refuse what does not fit.
@Suite struct SequenceTests {
    private final class Carrying: Module {
        let embedding = Embedding(5)
        let lstm = LSTM(6, layers: 2, carriesState: true)
        let gru = GRU(7, carriesState: true)
        let rnn = RNN(4, carriesState: true)
        let head = Linear(3)
        func callAsFunction(_ x: Value) -> Value { head(rnn(gru(lstm(embedding(x))))) }
    }

    private static let text = (0..<4).map { stream in (0..<6).map { ($0 * 7 + stream * 3) % 9 } }
    private static let labels = text.map { $0.map { $0 % 3 } }

    private static func replica(streams: Int = 4, longest: Int = 6) throws -> TestReplica {
        try TestReplica(
            Carrying(), reading: .tokens(vocabulary: 9, longest: longest), capacity: 4, streams: streams, threads: 2)
    }

    /// The outputs of rows `rows` of `text`, by stream and step.
    private static func evaluate(
        _ replica: TestReplica, _ rows: Range<Int>, _ steps: Range<Int>, order: [Int]? = nil
    ) -> [[[Float]]] {
        let order = order ?? Array(rows)
        let batch = TokenSequences(
            order.map { Array(text[$0][steps]) }, labels: order.map { Array(labels[$0][steps]) }, positions: order)
        _ = replica.evaluate(batch)
        let outputs = replica.replica.outputs.array()
        return order.indices.map { row in
            (0..<steps.count).map { step in
                let first = (step * order.count + row) * 3
                return Array(outputs[first..<first + 3])
            }
        }
    }

    @Test func aStreamInPiecesIsTheStream() throws {
        let replica = try Self.replica()
        let whole = Self.evaluate(replica, 0..<4, 0..<6)
        replica.replica.resetEvaluationState()
        let pieces = [0..<2, 2..<5, 5..<6].map { Self.evaluate(replica, 0..<4, $0) }
        #expect((0..<4).map { stream in pieces.flatMap { $0[stream] } } == whole)
        // Without a reset it goes on where it was.
        #expect(Self.evaluate(replica, 0..<4, 0..<6) != whole)
    }

    /// A stream's state is found by its position, wherever its row stands and whatever else is in the batch.
    @Test func streamsKeepTheirOwnStates() throws {
        let replica = try Self.replica()
        let whole = Self.evaluate(replica, 0..<4, 0..<6)
        replica.replica.resetEvaluationState()
        var first = Self.evaluate(replica, 0..<4, 0..<3, order: [2, 0, 3, 1])
        _ = first.removeFirst()
        let second = Self.evaluate(replica, 0..<2, 3..<6)
        #expect(second[0] == Array(whole[0][3...]))
        #expect(second[1] == Array(whole[1][3...]))
    }

    /// Training and evaluation carry states of their own, and a stream that has ended keeps its state.
    @Test func trainingCarriesItsOwnState() throws {
        let replica = try Self.replica()
        let before = Self.evaluate(replica, 0..<4, 0..<6)
        replica.replica.resetEvaluationState()
        let batch = TokenSequences(Self.text, labels: Self.labels)
        let first = replica.step(batch)
        let state = replica.replica.carriedState.array()
        #expect(state.contains { $0 != 0 } && state.count == 4 * (2 * 2 * 6 + 7 + 4))
        #expect(replica.replica.evaluationState.array().allSatisfy { $0 == 0 })
        #expect(Self.evaluate(replica, 0..<4, 0..<6) == before)
        let ended = TokenSequences(
            [Self.text[0], [], [], []], labels: [Self.labels[0], [], [], []], positions: [1, 0, 2, 3])
        replica.step(ended)
        let width = state.count / 4
        let after = replica.replica.carriedState.array()
        for stream in [0, 2, 3] {
            #expect(after[stream * width..<(stream + 1) * width] == state[stream * width..<(stream + 1) * width])
        }
        #expect(after[width..<2 * width] != state[width..<2 * width])
        replica.replica.resetCarriedState()
        #expect(replica.step(batch).sum == first.sum)
    }

    private final class Dropping: Module {
        let embedding = Embedding(8)
        let gru = GRU(8, layers: 2, dropout: 0.5)
        let dropout = Dropout(0.3)
        let head = Linear(3)
        func callAsFunction(_ x: Value) -> Value { head(dropout(gru(embedding(x)))) }
    }

    /// The masks of a row depend on its position in the global batch and its step, not on its neighbours.
    @Test func dropoutIsThatOfThePosition() throws {
        let replica = try TestReplica(
            Dropping(), reading: .tokens(vocabulary: 9, longest: 6), capacity: 4, threads: 2)
        let lengths = [6, 4, 4, 1]
        func outputs(_ order: [Int], step: Int = 3) -> [[Float]] {
            let batch = TokenSequences(
                order.map { Array(Self.text[$0][..<lengths[$0]]) },
                labels: order.map { Array(Self.labels[$0][..<lengths[$0]]) }, positions: order)
            replica.step(batch, step: step)
            let values = replica.outputs
            var rows = [[Float]](repeating: [], count: 4)
            var first = 0
            for step in 0..<6 {
                for sequence in order where lengths[sequence] > step {
                    rows[sequence] += values[first..<first + 3]
                    first += 3
                }
            }
            return rows
        }
        let whole = outputs([0, 1, 2, 3])
        let (left, right) = (outputs([0, 2]), outputs([1, 3]))
        for sequence in 0..<4 {
            let shard = sequence % 2 == 0 ? left : right
            #expect(zip(whole[sequence], shard[sequence]).allSatisfy { abs($0 - $1) < 1e-6 })
        }
        #expect(outputs([0, 1, 2, 3], step: 4) != whole)
    }

    private final class Model: Module {
        let layers: [any Module]
        let apply: (Value) -> Value
        init(_ layers: [any Module], _ apply: @escaping (Value) -> Value) {
            self.layers = layers
            self.apply = apply
        }
        func callAsFunction(_ x: Value) -> Value { apply(x) }
    }

    @Test func mistakesAreNamed() {
        let (embedding, linear, convolution) = (Embedding(4), Linear(3), Conv2d(3, kernel: 3))
        let (gru, bidirectional) = (GRU(5), GRU(5, bidirectional: true, carriesState: true))
        let (cell, norm, padded) = (GRUCell(4), BatchNorm1d(), Embedding(4, paddingIndex: 9))
        let layers: [any Module] = [embedding, linear, convolution, gru, bidirectional, cell, norm, padded]
        let cases: [(String, (Value) -> Value)] = [
            ("use an embedding or oneHot first", { linear($0) }),
            ("reads samples, and the input is a sequence", { norm(embedding($0)) }),
            ("carry on in one direction alone", { bidirectional(embedding($0)) }),
            ("a cell reads one step", { cell(embedding($0)) }),
            ("there is no step 6", { linear(step(embedding($0), 6)) }),
            (
                "2 steps are stacked, and the longest sequence has 6",
                { stack([step(embedding($0), 0), step(embedding($0), 1)]) }
            ),
            ("a sequence and something that has one row a sample", { embedding($0) + step(embedding($0), 0) }),
            (
                "an initial state is 4, and the layer has 5",
                { gru(embedding($0), initial: [step(embedding($0), 0)]).output }
            ),
            ("padding index 9 is not a token", { padded($0) }),
            ("an embedding reads tokens", { embedding(embedding($0)) }),
        ]
        for (message, apply) in cases {
            #expect {
                try TestReplica(
                    Model(layers, apply), reading: .tokens(vocabulary: 9, longest: 6), capacity: 1, threads: 1)
            } throws: {
                "\($0)".contains(message)
            }
        }
    }

    /// Rows of the embedding that no token names get no gradient, and the padding's neither.
    @Test func embeddingsLearnWhatOccurs() throws {
        final class Padded: Module {
            let embedding = Embedding(5, paddingIndex: 2)
            let head = Linear(3)
            func callAsFunction(_ x: Value) -> Value { head(embedding(x)) }
        }
        let replica = try TestReplica(Padded(), reading: .tokens(vocabulary: 9, longest: 3), capacity: 2, threads: 3)
        #expect(replica["embedding.weight"].values[10..<15].allSatisfy { $0 == 0 })
        replica.step(TokenSequences([[0, 1, 5], [7, 8]], labels: [[0, 1, 2], [0, 1]]))
        replica.step(TokenSequences([[4, 2, 4], [2, 6]], labels: [[0, 1, 2], [0, 1]]))
        let gradient = replica.gradient("embedding.weight")
        for token in 0..<9 {
            let row = (0..<5).map { gradient[token, $0] }
            #expect(row.contains { $0 != 0 } == [4, 6].contains(token), "token \(token)")
        }
    }

    /// An embedding that one layer alone reads.
    private final class Embedded: ModuleContainer {
        let embedding: Embedding
        let layer: any Module
        let head = Linear(3)
        init(_ layer: any Module, paddingIndex: Int?) {
            self.layer = layer
            embedding = Embedding(5, paddingIndex: paddingIndex)
        }
        var children: [(name: String, module: any Module)] {
            [("embedding", embedding), ("layer", layer), ("head", head)]
        }
        func callAsFunction(_ x: Value) -> Value { head(layer(embedding(x))) }
    }

    /// Where two sequences have more rows than there are tokens, the layer multiplies each token once: nothing else changes,
    /// with a row that never learns or a frozen table, and with padding between sequences of different lengths.
    @Test(arguments: ["rnn", "lstm", "gru"], [nil, 4])
    func embeddingInsideALayer(kind: String, paddingIndex: Int?) throws {
        func replica(longest: Int, threads: Int, frozen: [String] = []) throws -> TestReplica {
            let layers: [String: any Module] = ["rnn": RNN(6), "lstm": LSTM(6), "gru": GRU(6)]
            return try TestReplica(
                Embedded(layers[kind]!, paddingIndex: paddingIndex), reading: .tokens(vocabulary: 9, longest: longest),
                capacity: 3, threads: threads, frozen: frozen)
        }
        func operations(_ replica: TestReplica) -> [String] { replica.replica.operations.map(\.operation) }
        let batch = TokenSequences(
            [[1, 4, 0, 4], [2, 4, 8]], labels: [[0, 1, 2, 0], [2, 2, 0]])
        let apart = try replica(longest: 4, threads: 1)
        #expect(operations(apart).contains("embedding"))
        apart.step(batch)
        for threads in 1...3 {
            for frozen in [[], ["embedding.*"], ["layer.*"]] {
                let inside = try replica(longest: 6, threads: threads, frozen: frozen)
                #expect(!operations(inside).contains("embedding"))
                inside.replica.fillArena(.nan)
                inside.step(batch)
                #expect(inside.parameterNames.isEmpty == false)
                for name in inside.parameterNames {
                    expectMatches(inside.gradient(name), apart.gradient(name), tolerance: 1e-5, "\(name), \(frozen)")
                }
                for (one, other) in zip(inside.outputs, apart.outputs) { #expect(abs(one - other) < 1e-5) }
            }
        }
        #expect(apart.gradient("embedding.weight").values.contains { $0 != 0 })
    }
}
