/// The maximum of each window of an image or, with height 1, a sequence.
///
/// Input height × width × channels; output ⌊(extent + 2 · padding − kernel) / stride⌋ + 1 in each direction, rounded up
/// instead with `ceilMode` (a window that would begin in the padding on the right is left out, as in PyTorch).
///
/// - Parameters:
///   - stride: the kernel's extents by default.
///   - padding: never wins; at most half of the kernel.
///   - ceilMode: whether a last window that ends beyond the padded image is taken too.
public func maxPool(
    _ x: Value, kernel: Pair, stride: Pair? = nil, padding: Pair = 0, ceilMode: Bool = false
) -> Value {
    x.applying(Pooling(.maximum, slidingWindow(x, kernel, stride, padding), ceilMode: ceilMode))
}

/// The mean of each window of an image or, with height 1, a sequence. Shapes as for `maxPool`.
///
/// - Parameters:
///   - stride: the kernel's extents by default.
///   - padding: counts as zeros; at most half of the kernel.
///   - ceilMode: whether a last window that ends beyond the padded image is taken too. What it has beyond the padding never
///     counts for the divisor.
///   - countsPadding: whether positions in the padding count for the divisor (PyTorch's count_include_pad).
public func averagePool(
    _ x: Value, kernel: Pair, stride: Pair? = nil, padding: Pair = 0, ceilMode: Bool = false,
    countsPadding: Bool = true
) -> Value {
    x.applying(
        Pooling(
            .average, slidingWindow(x, kernel, stride, padding), ceilMode: ceilMode, countsPadding: countsPadding))
}

/// The mean over windows that cover the image and give an output of the extents `size`, whatever the input's: output row o
/// sees the rows from ⌊o · height / outputs⌋ up to ⌈(o + 1) · height / outputs⌉, that one excluded, and columns likewise.
/// Of a sequence `size.width` steps are left.
public func adaptiveAveragePool(_ x: Value, to size: Pair) -> Value { adaptivePool(x, .average, size) }

/// The maximum over the windows of `adaptiveAveragePool`.
public func adaptiveMaxPool(_ x: Value, to size: Pair) -> Value { adaptivePool(x, .maximum, size) }

/// The mean of each channel over all pixels: 1 × 1 × channels (Lin et al. 2014).
public func globalAveragePool(_ x: Value) -> Value { adaptivePool(x, .average, 1) }

private func adaptivePool(_ x: Value, _ kind: Pooling.Kind, _ size: Pair) -> Value {
    let size = alongLength(x, size, height: 1)
    let (height, width) = x.shape.rank == 3 ? (x.shape[0], x.shape[1]) : (1, x.shape.dimensions.first ?? 0)
    // Windows of one pixel: nothing is left to do.
    return (height, width) == (size.height, size.width) && x.shape.rank > 1
        ? x : x.applying(AdaptivePooling(kind, to: size))
}

private func slidingWindow(_ x: Value, _ kernel: Pair, _ stride: Pair?, _ padding: Pair) -> WindowGeometry {
    WindowGeometry(
        kernel: alongLength(x, kernel, height: 1), stride: alongLength(x, stride ?? kernel, height: 1),
        padding: alongLength(x, padding, height: 0))
}

/// A sequence has no height to pool over.
private func alongLength(_ x: Value, _ pair: Pair, height: Int) -> Pair {
    x.shape.rank == 2 ? Pair(height, pair.width) : pair
}
