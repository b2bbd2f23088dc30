package import DTrainTensor

/// Where a value or its gradient lies.
package struct Place: Sendable {
    package enum Memory: Sendable {
        /// At this offset, in bytes, of the plan's arena.
        case arena(Int)
        /// The samples, or the labels, that a run is given.
        case input, labels
    }
    package var memory: Memory
    /// The shape of one row.
    package let shape: Shape
    /// Elements from one pixel to the next; more than the channels where this is a slice of a concatenation.
    package var pixelStride: Int
    package let rows: Graph.Rows
    package let element: Element

    package var channels: Int { shape.dimensions.last ?? 1 }
    package var pixels: Int { shape.count / max(channels, 1) }
    /// Elements from one row to the next.
    package var sampleStride: Int { pixels * pixelStride }
}

/// An operation's place in a plan: what its kernel reads and writes.
package struct Site: Sendable {
    /// A gradient to be written: set, or added to where another reader has written before.
    package struct Gradient: Sendable {
        package let place: Place
        package let accumulate: Bool
    }
    /// A parameter's place in the arena, and whether its gradient is set or added to.
    package struct Parameter: Sendable {
        package let range: Range<Int>
        package let accumulate: Bool
        /// False for a frozen parameter: it has no gradient, and no place for one.
        package let isTrainable: Bool
    }

    package let inputs: [Place]
    /// The batch-norm before the first input, where it left normalisation to this operation.
    package let inputBatchNorm: DeferredBatchNorm?
    /// What a batch-norm need not measure.
    package let knownStatistics: KnownStatistics?
    package let output: Place
    /// nil where nothing trainable lies before the input.
    package let inputGradients: [Gradient?]
    /// nil where no gradient comes back.
    package let outputGradient: Place?
    /// Further outputs, and their gradients.
    package let states: [Place]
    package let stateGradients: [Place?]
    package let parameters: [Parameter]
    /// Offsets in the arena, in floats.
    package let saved: Int
    package let forwardWorkspace: Int
    package let backwardWorkspace: Int
    /// The offset of the step's statistics, in doubles.
    package let statistics: Int
    /// The offset in a stream's carried state, in floats.
    package let carriedState: Int
    package let extents: Extents
    /// The node's index, which tells the dropout layers of a model apart.
    package let index: Int
}
