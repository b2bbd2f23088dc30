public import DTrainLayers

/// Which language a surname comes from: an embedding of its characters, gated recurrent units in both directions, and a
/// linear layer over the states that each direction ends with.
///
/// Input: tokens; output: one row of logits a name.
public final class NameClassifier: Module {
    let embedding: Embedding
    let gru: GRU
    let fc: Linear?

    /// - Parameters:
    ///   - classes: languages; nil leaves the head out.
    ///   - dimension: features of a character.
    ///   - hidden: hidden units of each direction.
    public init(classes: Int?, dimension: Int = 64, hidden: Int = 128) {
        embedding = Embedding(dimension)
        gru = GRU(hidden, bidirectional: true)
        fc = classes.map { Linear($0) }
    }

    public func callAsFunction(_ x: Value) -> Value {
        let (_, states) = gru(embedding(x), initial: nil)
        let h = concatenate(states)
        return fc?(h) ?? h
    }
}
