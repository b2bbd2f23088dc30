internal import DTrainTensor

/// A learned vector for each token (PyTorch's Embedding): tokens to `dimension` features.
///
/// Parameter: `weight` vocabulary × dimension, from the standard normal distribution; the vocabulary is the input's.
public final class Embedding: Module {
    let dimension: Int
    let paddingIndex: Int?

    /// - Parameters:
    ///   - dimension: features of a token.
    ///   - paddingIndex: a token whose vector is zero at first and never learns; nil for none.
    public init(_ dimension: Int, paddingIndex: Int? = nil) {
        self.dimension = dimension
        self.paddingIndex = paddingIndex
    }

    public func callAsFunction(_ x: Value) -> Value {
        guard let vocabulary = x.vocabulary else {
            x.fail(self, "an embedding reads tokens, and its input is \(x.shape) values")
            return x
        }
        return x.applying(
            DTrainEngine.Embedding(vocabulary: vocabulary, dimension: dimension, paddingIndex: paddingIndex),
            layer: self,
            parameters: [
                (
                    "weight", [vocabulary, dimension], .plain,
                    paddingIndex.map { .normalRows(zeroRow: $0) } ?? .normal(standardDeviation: 1)
                )
            ])
    }
}

/// Tokens as features that are zero but for a one at the token's number.
public func oneHot(_ x: Value) -> Value {
    guard let vocabulary = x.vocabulary else {
        x.fail(nil, "oneHot reads tokens, and its input is \(x.shape) values")
        return x
    }
    return x.applying(OneHot(classes: vocabulary))
}

/// Step `index` of a sequence, one row a sample; zeros for a sequence that is over by then.
public func step(_ x: Value, _ index: Int) -> Value {
    guard index >= 0, index < x.longest else {
        x.fail(nil, "there is no step \(index): the longest sequence has \(x.longest)")
        return x
    }
    return x.applying(StepSelection(step: index))
}

/// The sequence of these steps; there are as many as the longest sequence has.
public func stack(_ steps: [Value]) -> Value {
    precondition(!steps.isEmpty, "stack needs at least one step")
    guard steps.count == steps[0].longest else {
        steps[0].fail(nil, "\(steps.count) steps are stacked, and the longest sequence has \(steps[0].longest)")
        return steps[0]
    }
    return steps[0].applying(StepStack(), with: Array(steps.dropFirst()))
}
