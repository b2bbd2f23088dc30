internal import DTrainTensor

/// Elman's recurrent network (PyTorch's RNN; Elman 1990): h = tanh(W x + b + U h + c) at every step.
///
/// Input: a sequence of features; output: a sequence of `hidden` features, of 2 · `hidden` (forward, then backward) with
/// `bidirectional`. Sequences are packed, so that one that is shorter than others costs and changes nothing beyond its end.
/// Parameters, for layer k: `weight_ih_lk` hidden × inputs, `weight_hh_lk` hidden × hidden, `bias_ih_lk` and `bias_hh_lk`
/// hidden, and the same with `_reverse` for the other direction; uniform in ±1/√hidden.
public final class RNN: Module {
    let settings: RecurrentSettings

    /// - Parameters:
    ///   - hidden: hidden units of each layer and direction.
    ///   - layers: each reads the output of the one before it.
    ///   - relu: max(0, ·) instead of tanh.
    ///   - bias: whether there are biases.
    ///   - dropout: the probability with which outputs between layers are dropped in training.
    ///   - bidirectional: a second direction goes through each sequence from its end.
    ///   - carriesState: each batch of a stream begins with the states that the last one ended with (truncated
    ///     back-propagation through time); they are saved in checkpoints, and begin at zero in every epoch.
    public init(
        _ hidden: Int, layers: Int = 1, relu: Bool = false, bias: Bool = true, dropout: Float = 0,
        bidirectional: Bool = false, carriesState: Bool = false
    ) {
        settings = RecurrentSettings(
            cell: .rnn(relu: relu), hidden: hidden, layers: layers, bias: bias, dropout: dropout,
            bidirectional: bidirectional, carriesState: carriesState)
    }

    public func callAsFunction(_ x: Value) -> Value { settings.apply(x, self).output }

    /// - Parameter initial: the states before the first step, by layer, and in it by direction; zeros where it is left out.
    /// - Returns: the output, and the states after each sequence's last step in the same order.
    public func callAsFunction(_ x: Value, initial: [Value]?) -> (output: Value, states: [Value]) {
        let (output, states) = settings.apply(x, self, initial: initial.map { [$0] })
        return (output, states[0])
    }
}

/// Long short-term memory (PyTorch's LSTM; Hochreiter and Schmidhuber 1997); otherwise as `RNN`.
///
/// i, f, o = σ(W x + b + U h + c), g = tanh(W x + b + U h + c), c = f · c + i · g, h = o · tanh c. The weights have 4 · hidden
/// rows, for i, f, g and o.
public final class LSTM: Module {
    let settings: RecurrentSettings

    /// As `RNN`'s.
    public init(
        _ hidden: Int, layers: Int = 1, bias: Bool = true, dropout: Float = 0, bidirectional: Bool = false,
        carriesState: Bool = false
    ) {
        settings = RecurrentSettings(
            cell: .lstm, hidden: hidden, layers: layers, bias: bias, dropout: dropout, bidirectional: bidirectional,
            carriesState: carriesState)
    }

    public func callAsFunction(_ x: Value) -> Value { settings.apply(x, self).output }

    /// As `RNN`'s; states are h and c.
    public func callAsFunction(
        _ x: Value, initial: (h: [Value], c: [Value])?
    ) -> (output: Value, states: (h: [Value], c: [Value])) {
        let (output, states) = settings.apply(x, self, initial: initial.map { [$0.h, $0.c] })
        return (output, (states[0], states[1]))
    }
}

/// Gated recurrent units (PyTorch's GRU; Cho et al. 2014); otherwise as `RNN`.
///
/// r, z = σ(W x + b + U h + c), n = tanh(W x + b + r · (U h + c)), h = (1 − z) · n + z · h. The weights have 3 · hidden rows,
/// for r, z and n.
public final class GRU: Module {
    let settings: RecurrentSettings

    /// As `RNN`'s.
    public init(
        _ hidden: Int, layers: Int = 1, bias: Bool = true, dropout: Float = 0, bidirectional: Bool = false,
        carriesState: Bool = false
    ) {
        settings = RecurrentSettings(
            cell: .gru, hidden: hidden, layers: layers, bias: bias, dropout: dropout, bidirectional: bidirectional,
            carriesState: carriesState)
    }

    public func callAsFunction(_ x: Value) -> Value { settings.apply(x, self).output }

    /// As `RNN`'s.
    public func callAsFunction(_ x: Value, initial: [Value]?) -> (output: Value, states: [Value]) {
        let (output, states) = settings.apply(x, self, initial: initial.map { [$0] })
        return (output, states[0])
    }
}

/// What the recurrent layers have in common: several layers and directions over one operation.
struct RecurrentSettings {
    let cell: RecurrentCell
    let hidden: Int
    let layers: Int
    let bias: Bool
    let dropout: Float
    let bidirectional: Bool
    let carriesState: Bool

    private var directions: Int { bidirectional ? 2 : 1 }

    /// States are listed by kind (h, c), each by layer and in it by direction.
    func apply(_ x: Value, _ module: any Module, initial: [[Value]]? = nil) -> (output: Value, states: [[Value]]) {
        var output = x
        var states = [[Value]](repeating: [], count: cell.stateCount)
        guard layers >= 1, hidden >= 1, dropout >= 0, dropout < 1 else {
            x.fail(module, "it needs at least one layer, one hidden unit, and a dropout probability in 0 ..< 1")
            return (x, states.map { _ in [x] })
        }
        if let initial, initial.contains(where: { $0.count != layers * directions }) {
            x.fail(module, "initial states are \(initial.map(\.count)), and it has \(layers * directions) of a kind")
            return (x, states.map { _ in [x] })
        }
        guard !(carriesState && bidirectional) else {
            x.fail(module, "a stream has no end to begin from: states carry on in one direction alone")
            return (x, states.map { _ in [x] })
        }
        for layer in 0..<layers {
            if layer > 0, dropout > 0, x.mode == .training {
                output = output.applying(DropoutOperation(probability: dropout), layer: module)
            }
            let sides = (0..<directions).map { direction in
                output.applyingRecurrent(
                    Recurrent(
                        cell, hidden: hidden, hasBias: bias, reverses: direction == 1, carriesState: carriesState),
                    with: initial.map { $0.map { $0[layer * directions + direction] } } ?? [], layer: module,
                    parameters: parameters(
                        inputs: output.shape.count, suffix: "_l\(layer)" + (direction == 1 ? "_reverse" : "")))
            }
            for side in sides { for kind in states.indices { states[kind] += side.states[kind...kind] } }
            output = sides.count == 1 ? sides[0].output : concatenate(sides.map(\.output))
        }
        return (output, states)
    }

    /// PyTorch's names and initial values.
    func parameters(
        inputs: Int, suffix: String
    ) -> [(name: String, shape: Shape, order: StorageOrder, initializer: Initializer)] {
        let rows = cell.gateCount * hidden
        let bound = 1 / Float(hidden).squareRoot()
        let initializer = Initializer.uniform(lower: -bound, upper: bound)
        let weights: [(String, Shape)] = [("weight_ih", [rows, inputs]), ("weight_hh", [rows, hidden])]
        let biases: [(String, Shape)] = bias ? [("bias_ih", [rows]), ("bias_hh", [rows])] : []
        return (weights + biases).map { ($0.0 + suffix, $0.1, .plain, initializer) }
    }
}
