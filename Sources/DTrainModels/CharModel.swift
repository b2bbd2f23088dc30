public import DTrainLayers

/// The next character from the ones before: an embedding, recurrent layers whose state is carried from batch to batch of a
/// stream (truncated back-propagation through time), and a linear head at every step.
///
/// Input: tokens; output: logits for each step. Parameters: `embedding.weight`, those of the recurrent layers below the name of
/// their kind (`lstm.weight_ih_l0`), `fc.weight` and `fc.bias`.
public final class CharModel: ModuleContainer {
    /// Which recurrent layers.
    public enum Kind: String, Sendable { case rnn, lstm, gru }

    private let kind: Kind
    private let embedding: Embedding
    private let recurrent: any Module
    private let fc: Linear?

    /// - Parameters:
    ///   - kind: which recurrent layers.
    ///   - classes: tokens to choose from; nil leaves the head out.
    ///   - dimension: features of a character.
    ///   - hidden: hidden units of each layer.
    ///   - dropout: between the recurrent layers.
    ///   - carriesState: false begins every batch with zeros, as for sequences that have nothing to do with each other.
    public init(
        _ kind: Kind, classes: Int?, dimension: Int = 128, hidden: Int = 256, layers: Int = 2, dropout: Float = 0,
        carriesState: Bool = true
    ) {
        self.kind = kind
        embedding = Embedding(dimension)
        recurrent =
            switch kind {
            case .rnn: RNN(hidden, layers: layers, dropout: dropout, carriesState: carriesState)
            case .lstm: LSTM(hidden, layers: layers, dropout: dropout, carriesState: carriesState)
            case .gru: GRU(hidden, layers: layers, dropout: dropout, carriesState: carriesState)
            }
        fc = classes.map { Linear($0) }
    }

    public var children: [(name: String, module: any Module)] {
        [("embedding", embedding), (kind.rawValue, recurrent)] + (fc.map { [("fc", $0)] } ?? [])
    }

    public func callAsFunction(_ x: Value) -> Value {
        let h = recurrent(embedding(x))
        return fc?(h) ?? h
    }
}
