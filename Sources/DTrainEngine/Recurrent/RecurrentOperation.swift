package import DTrainTensor

/// The cell of a recurrent layer: what becomes of the gates.
package enum RecurrentCell: Hashable, Sendable {
    /// Elman 1990: h = tanh(W x + b + U h + c), or max(0, ·).
    case rnn(relu: Bool)
    /// Hochreiter and Schmidhuber 1997, with a forget gate; gates in PyTorch's order i f g o.
    case lstm
    /// Cho et al. 2014, as PyTorch has it (the reset gate acts on U h + c); gates in PyTorch's order r z n.
    case gru

    package var name: String {
        switch self {
        case .rnn: "rnn"
        case .lstm: "lstm"
        case .gru: "gru"
        }
    }

    /// Rows of the weights for each hidden unit.
    package var gateCount: Int {
        switch self {
        case .rnn: 1
        case .lstm: 4
        case .gru: 3
        }
    }

    /// States that pass from step to step: h, and of an LSTM c.
    package var stateCount: Int { self == .lstm ? 2 : 1 }

    /// Floats of a step's gates for each hidden unit: a GRU keeps n and its hidden side apart.
    var storedGateCount: Int { self == .rnn(relu: true) || self == .rnn(relu: false) ? 1 : 4 }
}

/// One direction of one recurrent layer, over all steps of packed sequences; or, on values with one row a sample, one step.
///
/// Inputs: x; optionally initial states (h, and c of an LSTM), one row a sample; zeros where they are missing. Parameters,
/// as PyTorch shapes them: weight_ih gates·hidden × features, weight_hh gates·hidden × hidden and, with bias, bias_ih and
/// bias_hh. Output: h after every step. States: h, and c of an LSTM, after the last step of each sequence in the order in
/// which the layer goes.
package struct Recurrent: Operation {
    package let cell: RecurrentCell
    package let hidden: Int
    package let hasBias: Bool
    /// Whether each sequence is gone through from its end.
    package let reverses: Bool
    /// Whether a stream's next batch begins with the states that this one ends with; nothing goes back across batches.
    package let carriesState: Bool
    /// The embedding that makes x of tokens, where that is left to the layer: its table is then the last parameter, and the first
    /// input the tokens.
    package private(set) var embedding: Embedding?

    package init(_ cell: RecurrentCell, hidden: Int, hasBias: Bool, reverses: Bool = false, carriesState: Bool = false)
    {
        self.cell = cell
        self.hidden = hidden
        self.hasBias = hasBias
        self.reverses = reverses
        self.carriesState = carriesState
    }

    package var name: String { cell.name }
    package var sequences: SequenceUse { .recurrent }
    /// The index of the embedding's table among the parameters.
    var tableIndex: Int { hasBias ? 4 : 2 }

    /// The features of a row of x.
    func features(_ input: Shape) -> Int { embedding?.dimension ?? input.dimensions.last! }

    /// The layer with its input's embedding inside. Rows of the same token have the same input's side, so it is multiplied once
    /// for each token of the vocabulary, and the gradients of its rows are added up before they are multiplied: worth it
    /// where a run has more rows than the vocabulary has tokens, see `Graph.fused`.
    func reading(_ embedding: Embedding) -> Recurrent {
        var layer = self
        layer.embedding = embedding
        return layer
    }

    package var backwardReads: BackwardReads { [.inputs, .output] }
    package var carriedStateCount: Int { carriesState ? cell.stateCount * hidden : 0 }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        guard hidden >= 1, inputs[0].rank == 1 else {
            throw ShapeMismatch("a recurrent layer reads features, not \(inputs[0])")
        }
        for state in inputs.dropFirst() where state != [hidden] {
            throw ShapeMismatch("an initial state is \(state), and the layer has \(hidden) hidden units")
        }
        guard inputs.count == 1 || inputs.count == 1 + cell.stateCount else {
            throw ShapeMismatch("it needs \(cell.stateCount) initial states, or none, and has \(inputs.count - 1)")
        }
        guard inputs.count == 1 || !carriesState else {
            throw ShapeMismatch("initial states are given to a layer that carries its own from batch to batch")
        }
        return [hidden]
    }

    package func stateShapes(_ inputs: [Shape]) -> [Shape] {
        [Shape](repeating: [hidden], count: cell.stateCount)
    }

    package func multiplyAdds(inputs: [Shape], output: Shape) -> Int {
        cell.gateCount * hidden * features(inputs[0]) + stateMultiplyAdds
    }

    /// Those of the hidden side.
    var stateMultiplyAdds: Int { cell.gateCount * hidden * hidden }

    package func memory(_ extents: Extents) -> MemoryNeed {
        let layout = RecurrentMemory(self, extents)
        return MemoryNeed(
            saved: layout.savedCount, forwardWorkspace: layout.forwardCount, backwardWorkspace: layout.backwardCount)
    }

    package func kernel(_ site: Site) -> any Kernel { RecurrentKernel(self, site) }

    /// The way of its products.
    func product(_ extents: Extents) -> MatrixProduct {
        MatrixProduct(
            extents, inputs: features(extents.inputs[0]), outputs: hidden)
    }
}
