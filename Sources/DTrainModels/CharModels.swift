public import DTrainLayers

/// The next character from the ones before: an embedding, recurrent layers whose state is carried from batch to batch of a
/// stream (truncated back-propagation through time), and a linear head at every step.
///
/// Input: tokens; output: logits for each step. `CharRNN`, `CharLSTM` and `CharGRU` differ in the cell alone.
public final class CharRNN: Module {
    let embedding: Embedding
    let rnn: RNN
    let fc: Linear?

    /// - Parameters:
    ///   - classes: tokens to choose from; nil leaves the head out.
    ///   - dropout: between the recurrent layers.
    ///   - carriesState: false begins every batch with zeros, as for sequences that have nothing to do with each other.
    public init(
        classes: Int?, dimension: Int = 128, hidden: Int = 256, layers: Int = 2, dropout: Float = 0,
        carriesState: Bool = true
    ) {
        embedding = Embedding(dimension)
        rnn = RNN(hidden, layers: layers, dropout: dropout, carriesState: carriesState)
        fc = classes.map { Linear($0) }
    }

    public func callAsFunction(_ x: Value) -> Value {
        let h = rnn(embedding(x))
        return fc?(h) ?? h
    }
}

/// As `CharRNN`, with an LSTM.
public final class CharLSTM: Module {
    let embedding: Embedding
    let lstm: LSTM
    let fc: Linear?

    /// As `CharRNN`'s.
    public init(
        classes: Int?, dimension: Int = 128, hidden: Int = 256, layers: Int = 2, dropout: Float = 0,
        carriesState: Bool = true
    ) {
        embedding = Embedding(dimension)
        lstm = LSTM(hidden, layers: layers, dropout: dropout, carriesState: carriesState)
        fc = classes.map { Linear($0) }
    }

    public func callAsFunction(_ x: Value) -> Value {
        let h = lstm(embedding(x))
        return fc?(h) ?? h
    }
}

/// As `CharRNN`, with gated recurrent units.
public final class CharGRU: Module {
    let embedding: Embedding
    let gru: GRU
    let fc: Linear?

    /// As `CharRNN`'s.
    public init(
        classes: Int?, dimension: Int = 128, hidden: Int = 256, layers: Int = 2, dropout: Float = 0,
        carriesState: Bool = true
    ) {
        embedding = Embedding(dimension)
        gru = GRU(hidden, layers: layers, dropout: dropout, carriesState: carriesState)
        fc = classes.map { Linear($0) }
    }

    public func callAsFunction(_ x: Value) -> Value {
        let h = gru(embedding(x))
        return fc?(h) ?? h
    }
}
