public import DTrainLayers

/// Which language a surname comes from: an embedding of its characters, gated recurrent units in both directions, and a
/// linear layer over the states that each direction ends with.
///
/// Input: tokens; output: one row of logits a name.
public final class NameClassifier: Module {
    let embedding: Embedding
    let gru: GRU
    let dropout: Dropout
    let fc: Linear?

    /// - Parameters:
    ///   - classes: languages; nil leaves the head out.
    ///   - dimension: features of a character.
    ///   - hidden: hidden units of each direction.
    ///   - dropout: of the embedded characters and of the last states.
    public init(classes: Int?, dimension: Int = 64, hidden: Int = 128, dropout: Float = 0) {
        self.dropout = Dropout(dropout)
        embedding = Embedding(dimension)
        gru = GRU(hidden, bidirectional: true)
        fc = classes.map { Linear($0) }
    }

    public func callAsFunction(_ x: Value) -> Value {
        let (_, states) = gru(dropout(embedding(x)), initial: nil)
        let h = dropout(concatenate(states))
        return fc?(h) ?? h
    }
}
