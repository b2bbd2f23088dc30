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

/// The maximum of each window of an image or, with height 1, a sequence. The stride defaults to the kernel's extents;
/// padding never wins and is at most half of the kernel.
public func maxPool(_ x: Value, kernel: Pair, stride: Pair? = nil, padding: Pair = 0) -> Value {
    pool(x, .maximum, kernel, stride, padding)
}

/// The mean of each window. The stride defaults to the kernel's extents; padding counts as zeros, as in PyTorch.
public func averagePool(_ x: Value, kernel: Pair, stride: Pair? = nil, padding: Pair = 0) -> Value {
    pool(x, .average, kernel, stride, padding)
}

private func pool(_ x: Value, _ kind: Pooling.Kind, _ kernel: Pair, _ stride: Pair?, _ padding: Pair) -> Value {
    // A sequence has no height to pool over.
    func line(_ pair: Pair, _ height: Int) -> Pair { x.shape.rank == 2 ? Pair(height, pair.width) : pair }
    let geometry = WindowGeometry(
        kernel: line(kernel, 1), stride: line(stride ?? kernel, 1), padding: line(padding, 0))
    return x.applying(Pooling(kind, geometry))
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

/// The sum, element by element, of two values of the same shape.
public func + (_ a: Value, _ b: Value) -> Value { a.applying(Addition(), with: [b]) }

/// Lets training judge `logits` as well: `weight` times their loss is added to that of the model's output (Szegedy et al.
/// 2014, section 5). In evaluation it does nothing; a model does not even compute them then.
public func auxiliaryLoss(_ logits: Value, weight: Float) { logits.judgedAsAuxiliary(weight: weight) }
