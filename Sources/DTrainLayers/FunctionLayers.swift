/// max(0, x) as a layer, for `Sequential`; it has no parameters. Elsewhere `relu(x)` reads better.
public final class ReLU: Module {
    public init() {}

    public func callAsFunction(_ x: Value) -> Value { relu(x) }
}

/// The maximum of each window as a layer, for `Sequential`; it has no parameters. Elsewhere `maxPool(x, …)` reads better.
public final class MaxPool2d: Module {
    let kernel: Pair
    let stride: Pair
    let padding: Pair
    let ceilMode: Bool

    /// As `maxPool`'s: the stride defaults to the kernel's extents, and with `ceilMode` a window may begin in the image and
    /// end beyond it.
    public init(kernel: Pair, stride: Pair? = nil, padding: Pair = 0, ceilMode: Bool = false) {
        self.kernel = kernel
        self.stride = stride ?? kernel
        self.padding = padding
        self.ceilMode = ceilMode
    }

    public func callAsFunction(_ x: Value) -> Value {
        maxPool(x, kernel: kernel, stride: stride, padding: padding, ceilMode: ceilMode)
    }
}
