import DTrainLayers
import DTrainTensor
import Foundation
import Testing

/// The recurrent layers and cells against PyTorch, in double precision: outputs, final states and every gradient.
@Suite struct RecurrentTests {
    /// As `Fixtures/make_recurrent_cases.py` writes it.
    struct Case: Decodable, CustomTestStringConvertible, Sendable {
        enum Use: String, Decodable { case outputs, states, initial, decoder, cell }
        let cell: String
        let use: Use
        let lengths: [Int]
        let features: Int
        let hidden: Int
        let layers: Int
        let bidirectional: Bool
        let bias: Bool
        let logits: [Double]
        let loss: Double
        let gradients: [String: [Double]]

        var testDescription: String {
            "\(cell) \(use.rawValue) of \(lengths), \(features) features, \(hidden) hidden, \(layers) layers"
                + (bidirectional ? ", both directions" : "") + (bias ? "" : ", without bias")
        }
    }

    static let cases: [Case] = {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Fixtures/recurrent_cases.json")
        return try! JSONDecoder().decode([Case].self, from: Data(contentsOf: path))
    }()

    /// Every token of the batch has a row of its own in the embedding, whose gradient is then that of the layer's input.
    final class Probe: Module {
        let embedding: Embedding
        let initial: [Linear]
        let layer: any Module
        let decoder: (any Module)?
        let head = Linear(3)
        let setting: Case

        init(_ setting: Case) {
            self.setting = setting
            embedding = Embedding(setting.features)
            let states = setting.layers * (setting.bidirectional ? 2 : 1) * (setting.cell == "lstm" ? 2 : 1)
            initial = setting.use == .initial ? (0..<states).map { _ in Linear(setting.hidden) } : []
            layer = setting.use == .cell ? Self.cell(setting) : Self.layer(setting)
            decoder = setting.use == .decoder ? Self.layer(setting) : nil
        }

        static func layer(_ s: Case) -> any Module {
            switch s.cell {
            case "lstm": LSTM(s.hidden, layers: s.layers, bias: s.bias, bidirectional: s.bidirectional)
            case "gru": GRU(s.hidden, layers: s.layers, bias: s.bias, bidirectional: s.bidirectional)
            default:
                RNN(
                    s.hidden, layers: s.layers, relu: s.cell == "relu", bias: s.bias, bidirectional: s.bidirectional)
            }
        }

        static func cell(_ s: Case) -> any Module {
            switch s.cell {
            case "lstm": LSTMCell(s.hidden, bias: s.bias)
            case "gru": GRUCell(s.hidden, bias: s.bias)
            default: RNNCell(s.hidden, relu: s.cell == "relu", bias: s.bias)
            }
        }

        func callAsFunction(_ tokens: Value) -> Value {
            let x = embedding(tokens)
            if setting.use == .cell { return head(stack(unrolled(x))) }
            let first = initial.isEmpty ? nil : initial.map { $0(step(x, 0)) }
            var (y, states) = run(layer, x, first)
            if let decoder { (y, states) = run(decoder, y, states) }
            return head(setting.use == .states ? concatenate(states) : y)
        }

        private func run(_ layer: any Module, _ x: Value, _ initial: [Value]?) -> (Value, [Value]) {
            switch layer {
            case let lstm as LSTM:
                let half = initial.map { $0.count / 2 } ?? 0
                let (y, states) = lstm(x, initial: initial.map { (Array($0[..<half]), Array($0[half...])) })
                return (y, states.h + states.c)
            case let gru as GRU: return gru(x, initial: initial)
            default: return (layer as! RNN)(x, initial: initial)
            }
        }

        private func unrolled(_ x: Value) -> [Value] {
            var h: Value?
            var state: (h: Value, c: Value)?
            return (0..<x.longest).map { t in
                switch layer {
                case let lstm as LSTMCell:
                    state = lstm(step(x, t), state)
                    h = state!.h
                case let gru as GRUCell: h = h.map { gru(step(x, t), $0) } ?? gru(step(x, t))
                default:
                    let rnn = layer as! RNNCell
                    h = h.map { rnn(step(x, t), $0) } ?? rnn(step(x, t))
                }
                return h!
            }
        }
    }

    @Test(arguments: cases, 1...3)
    func matchesPyTorch(_ setting: Case, threads: Int) throws {
        let tokens = setting.lengths.reduce(0, +)
        let replica = try TestReplica(
            Probe(setting), reading: .tokens(vocabulary: tokens, longest: setting.lengths[0]),
            capacity: setting.lengths.count + 1, threads: threads)
        // A run of other lengths before it: nothing may depend on what memory held.
        let rows = setting.logits.count / 3
        let before = setting.lengths.map { max(1, $0 - 1) }
        let perSample = setting.use == .states
        let dirty = TokenSequences(
            tokens: [Int](repeating: 0, count: before.reduce(0, +)), lengths: before,
            labels: [Int](repeating: 1, count: perSample ? before.count : before.reduce(0, +)))
        if setting.use != .cell { replica.step(dirty) }

        for name in replica.parameterNames {
            let shape = replica[name].shape
            let seed = Double(name.utf8.reduce(0) { $0 + Int($1) } % 97)
            let values = (0..<shape.reduce(1, *)).map { (index: Int) -> Double in
                0.5 * sin(0.37 * seed + 1.7 * Double(index) + 0.013 * Double(index * index))
            }
            replica[name] = ReferenceTensor(shape, values)
        }
        let batch = TokenSequences(
            tokens: Array(0..<tokens), lengths: setting.lengths, labels: (0..<rows).map { (3 * $0 + 1) % 3 })
        let loss = replica.step(batch)
        #expect(abs(loss.sum - setting.loss) <= 1e-5 * max(1, setting.loss))
        #expect(loss.denominator == Double(rows))
        let expected = ReferenceTensor([rows, 3], setting.logits)
        expectMatches(ReferenceTensor([rows, 3], replica.outputs.map(Double.init)), expected, "logits")
        #expect(Set(replica.parameterNames) == Set(setting.gradients.keys))
        for (name, gradient) in setting.gradients {
            let actual = replica.gradient(name)
            expectMatches(actual, ReferenceTensor(actual.shape, gradient), "d \(name)")
        }
        let sum = replica.evaluate(batch)
        #expect(abs(sum.loss.sum - setting.loss) <= 1e-5 * max(1, setting.loss))
        expectMatches(
            ReferenceTensor([rows, 3], replica.replica.outputs.array().map(Double.init)), expected, "evaluated logits")
        #expect(sum.count == rows)
    }

    private final class OneHotReader: Module {
        let lstm = LSTM(2)
        let head = Linear(3)
        func callAsFunction(_ tokens: Value) -> Value { head(lstm(oneHot(tokens))) }
    }

    /// Gradients go back through the states even where the input, of tokens, needs none.
    @Test func productsOfTheStatesAreCounted() throws {
        let replica = try TestReplica(
            OneHotReader(), reading: .tokens(vocabulary: 5, longest: 3), capacity: 1, threads: 1)
        let layer = try #require(replica.replica.operations.first { $0.operation == "lstm" })
        #expect(layer.forward.multiplyAdds == 3 * 8 * (5 + 2))
        #expect(layer.backward?.multiplyAdds == 3 * (8 * (5 + 2) + 8 * 2))
    }

    /// A batch of so many rows that the layers compute them in several parts, against its sequences one by one: losses and
    /// gradients are sums.
    @Test(arguments: ["rnn", "lstm", "gru"], 1...3)
    func aLongBatchIsTheSumOfItsSequences(_ cell: String, threads: Int) throws {
        let lengths = (0..<24).map { 97 - 4 * $0 }
        let setting = Case(
            cell: cell, use: .outputs, lengths: lengths, features: 5, hidden: 7, layers: 2, bidirectional: true,
            bias: true, logits: [], loss: 0, gradients: [:])
        let replica = try TestReplica(
            Probe(setting), reading: .tokens(vocabulary: 40, longest: lengths[0]), capacity: lengths.count,
            threads: threads)
        func numbers(_ count: Int) -> [[Int]] {
            lengths.enumerated().map { sample, length in (0..<length).map { (7 * sample + 3 * $0) % count } }
        }
        let (tokens, labels) = (numbers(40), numbers(3))
        var loss = 0.0
        var gradients: [String: ReferenceTensor] = [:]
        for (tokens, labels) in zip(tokens, labels) {
            loss += replica.step(TokenSequences([tokens], labels: [labels])).sum
            for name in replica.parameterNames {
                let gradient = replica.gradient(name)
                gradients[name] = gradients[name].map { $0 + gradient } ?? gradient
            }
        }
        let whole = replica.step(TokenSequences(tokens, labels: labels)).sum
        #expect(abs(whole - loss) <= 1e-5 * loss)
        for (name, gradient) in gradients { expectMatches(replica.gradient(name), gradient, "d \(name)") }
    }
}
