public import DTrainTensor

/// max(0, x), element by element.
public func relu(_ x: Value) -> Value { x.applying(ActivationOperation(.relu)) }

/// tanh x, element by element.
public func tanh(_ x: Value) -> Value { x.applying(ActivationOperation(.tanh)) }

/// 1 / (1 + e⁻ˣ), element by element.
public func sigmoid(_ x: Value) -> Value { x.applying(ActivationOperation(.sigmoid)) }

/// x where x is positive, `slope` · x elsewhere (Maas et al. 2013); the slope is positive, PyTorch's default 0.01.
public func leakyReLU(_ x: Value, slope: Float = 0.01) -> Value {
    x.applying(ActivationOperation(.leakyReLU(slope: slope)))
}

/// All elements of a sample in one row. Free: an image stays as it lies, and the linear layer after it knows.
public func flatten(_ x: Value) -> Value { x.flattened() }

/// The same elements, in PyTorch's order, under another shape: height × width × channels, length × channels or a count.
public func reshape(_ x: Value, to shape: Shape) -> Value { x.reshaped(to: shape) }

/// The channels of several images (or features) side by side; the other extents must agree.
public func concatenate(_ values: [Value]) -> Value {
    precondition(!values.isEmpty, "concatenate needs at least one value")
    return values[0].applying(Concatenation(), with: Array(values.dropFirst()))
}

/// Lets training judge `logits` as well: `weight` times their loss is added to that of the model's output (Szegedy et al.
/// 2014, section 5). In evaluation it does nothing; a model does not even compute them then.
public func auxiliaryLoss(_ logits: Value, weight: Float) { logits.judgedAsAuxiliary(weight: weight) }

/// e^x[i] / Σ e^x[j] over the last extent: the features of a sample, the channels of each pixel. Of a sequence it takes the
/// features of each step by themselves; it never sums over steps. The cross-entropy loss takes logits and needs no softmax
/// before it.
public func softmax(_ x: Value) -> Value { x.applying(Softmax()) }
