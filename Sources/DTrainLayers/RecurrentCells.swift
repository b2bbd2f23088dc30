internal import DTrainTensor

/// One step of Elman's recurrent network (PyTorch's RNNCell): h = tanh(W x + b + U h + c).
///
/// Inputs and output have one row a sample: `step(x, t)` takes them from a sequence. Parameters `weight_ih` hidden × inputs,
/// `weight_hh` hidden × hidden, `bias_ih` and `bias_hh` hidden; uniform in ±1/√hidden.
public final class RNNCell: Module {
    let settings: RecurrentSettings

    /// - Parameters:
    ///   - hidden: hidden units.
    ///   - relu: max(0, ·) instead of tanh.
    ///   - bias: whether there are biases.
    public init(_ hidden: Int, relu: Bool = false, bias: Bool = true) {
        settings = .cell(.rnn(relu: relu), hidden, bias: bias)
    }

    /// The state after `x`, from zeros.
    public func callAsFunction(_ x: Value) -> Value { settings.advance(x, [], self)[0] }
    /// The state after `x`, from `h`.
    public func callAsFunction(_ x: Value, _ h: Value) -> Value { settings.advance(x, [h], self)[0] }
}

/// One step of an LSTM (PyTorch's LSTMCell); otherwise as `RNNCell`, with 4 · hidden rows for i, f, g and o.
public final class LSTMCell: Module {
    let settings: RecurrentSettings

    public init(_ hidden: Int, bias: Bool = true) { settings = .cell(.lstm, hidden, bias: bias) }

    /// h after `x`, from zeros.
    public func callAsFunction(_ x: Value) -> Value { settings.advance(x, [], self)[0] }
    /// The states after `x`, from `state`; from zeros where it is nil.
    public func callAsFunction(_ x: Value, _ state: (h: Value, c: Value)?) -> (h: Value, c: Value) {
        let states = settings.advance(x, state.map { [$0.h, $0.c] } ?? [], self)
        return (states[0], states[1])
    }
}

/// One step of gated recurrent units (PyTorch's GRUCell); otherwise as `RNNCell`, with 3 · hidden rows for r, z and n.
public final class GRUCell: Module {
    let settings: RecurrentSettings

    public init(_ hidden: Int, bias: Bool = true) { settings = .cell(.gru, hidden, bias: bias) }

    /// The state after `x`, from zeros.
    public func callAsFunction(_ x: Value) -> Value { settings.advance(x, [], self)[0] }
    /// The state after `x`, from `h`.
    public func callAsFunction(_ x: Value, _ h: Value) -> Value { settings.advance(x, [h], self)[0] }
}

extension RecurrentSettings {
    fileprivate static func cell(_ cell: RecurrentCell, _ hidden: Int, bias: Bool) -> RecurrentSettings {
        RecurrentSettings(
            cell: cell, hidden: hidden, layers: 1, bias: bias, dropout: 0, bidirectional: false, carriesState: false)
    }

    /// The states after one step.
    fileprivate func advance(_ x: Value, _ states: [Value], _ module: any Module) -> [Value] {
        guard !x.isSequence else {
            x.fail(module, "a cell reads one step: take it with step(x, t), or use the layer for the whole sequence")
            return [Value](repeating: x, count: cell.stateCount)
        }
        let (h, after) = x.applyingRecurrent(
            Recurrent(cell, hidden: hidden, hasBias: bias), with: states, layer: module,
            parameters: parameters(inputs: x.shape.count, suffix: ""))
        return [h] + after.dropFirst()
    }
}
