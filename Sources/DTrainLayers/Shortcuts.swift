/// Returns its input: what stands where a model may have a layer (PyTorch's Identity). No parameters.
public final class Identity: Module {
    public init() {}
    public func callAsFunction(_ x: Value) -> Value { x }
}

/// A shortcut without parameters around a block that changes the size (He et al. 2015, option A): every stride-th pixel,
/// beginning with the first, and zeros as the channels that are missing.
///
/// Input height × width × c; output ⌈height / stride⌉ × ⌈width / stride⌉ × `channels`, where channels c and above are zero:
/// they are appended after the input's. `channels` is at least c.
public func zeroPaddingShortcut(_ x: Value, channels: Int, stride: Int) -> Value {
    if stride == 1, channels == x.shape.dimensions.last { return x }
    // A sequence has no height to skip.
    return x.applying(
        ZeroPaddingShortcut(channels: channels, stride: Pair(x.shape.rank == 3 ? stride : 1, stride)))
}
