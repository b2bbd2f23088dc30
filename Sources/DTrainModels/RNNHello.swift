public import DTrainLayers

/// The lecture's first recurrent network, which turns "hello" into "ohlol", in the three ways that it is shown: cell by
/// cell, as a whole sequence, and with an embedding and a linear head. Input: tokens; output: logits for each step.
///
/// Cell by cell: the hidden state of each step is that step's logits, so there are as many hidden units as characters.
public final class RNNHelloCell: Module {
    let cell: RNNCell

    public init(classes: Int) { cell = RNNCell(classes) }

    public func callAsFunction(_ x: Value) -> Value {
        let letters = oneHot(x)
        var h = cell(step(letters, 0))
        var outputs = [h]
        for t in 1..<max(x.longest, 1) {
            h = cell(step(letters, t), h)
            outputs.append(h)
        }
        return stack(outputs)
    }
}

/// The same as a whole sequence.
public final class RNNHello: Module {
    let rnn: RNN

    public init(classes: Int) { rnn = RNN(classes) }

    public func callAsFunction(_ x: Value) -> Value { rnn(oneHot(x)) }
}

/// The same with an embedding of ten features, two layers of eight hidden units and a linear head.
public final class RNNHelloEmbedding: Module {
    let embedding = Embedding(10)
    let rnn = RNN(8, layers: 2)
    let fc: Linear?

    /// `classes` nil leaves the head out.
    public init(classes: Int?) { fc = classes.map { Linear($0) } }

    public func callAsFunction(_ x: Value) -> Value {
        let h = rnn(embedding(x))
        return fc?(h) ?? h
    }
}
