internal import CKernels
package import DTrainTensor

/// The maximum (padding never wins) or the mean of each window.
package struct Pooling: Operation, ActivationFusing {
    package enum Kind: String, Sendable { case maximum, average }

    package let kind: Kind
    package let geometry: WindowGeometry
    /// Whether a last window that begins in the image and ends beyond its padding is taken too (PyTorch's ceil_mode).
    package let ceilMode: Bool
    /// Whether a mean's divisor counts positions in the padding, as zeros (PyTorch's count_include_pad, on by default).
    package let countsPadding: Bool
    /// ReLU of the maximum: both are monotonic, so the quarter of the pixels that is left is all that ReLU must see.
    package var appliesReLU = false

    package init(_ kind: Kind, _ geometry: WindowGeometry, ceilMode: Bool = false, countsPadding: Bool = true) {
        self.kind = kind
        self.geometry = geometry
        self.ceilMode = ceilMode
        self.countsPadding = countsPadding
    }

    package var name: String { kind == .maximum ? "maxPool" : "averagePool" }
    package var window: (kernel: Int, stride: Int) { (geometry.kernel.width, geometry.stride.width) }
    package var writesStridedPixels: Bool { true }

    package func fused(with activation: Activation) -> (any Operation)? {
        guard kind == .maximum, activation == .relu, !appliesReLU else { return nil }
        var fused = self
        fused.appliesReLU = true
        return fused
    }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        let input = inputs[0]
        try input.requireImage("pooling")
        let (kernel, padding) = (geometry.kernel, geometry.padding)
        guard padding.height * 2 <= kernel.height, padding.width * 2 <= kernel.width else {
            throw ShapeMismatch("padding \(padding) is more than half of the pooling window \(kernel)")
        }
        guard kernel.height * kernel.width < 255 else {
            throw ShapeMismatch("a pooling window of \(kernel.height)×\(kernel.width) has more than 254 pixels")
        }
        guard geometry.dilation == 1 else { throw ShapeMismatch("pooling windows are not dilated") }
        let extents = try geometry.outputExtents((input.imageHeight, input.imageWidth), ceilMode: ceilMode)
        return input.image(height: extents.height, width: extents.width, channels: input.imageChannels)
    }

    package func storedElements(_ extents: Extents) -> StoredElements { .alike }
    package func memory(_ extents: Extents) -> MemoryNeed {
        MemoryNeed(saved: kind == .maximum ? (extents.rows * extents.output.count + 3) / 4 : 0)
    }
    package func kernel(_ site: Site) -> any Kernel { PoolingKernel(self, site) }
}

private final class PoolingKernel: Kernel {
    private let operation: Pooling
    private let site: Site
    private let window: dt_window

    init(_ operation: Pooling, _ site: Site) {
        self.operation = operation
        self.site = site
        window = operation.geometry.cWindow(input: site.inputs[0].shape, output: site.output.shape)
    }

    /// One byte an output element: the position in the window that won, if any did.
    private func winners(_ run: Run) -> UnsafeMutablePointer<UInt8> {
        UnsafeMutableRawPointer(run.arena + site.saved).assumingMemoryBound(to: UInt8.self)
    }

    func forward(_ run: Run) {
        let (x, y) = (run.elements(site.inputs[0]), run.pixels(site.output))
        let channels = site.output.channels
        let lines = run.lines(height: window.output_height, group: 1)
        switch operation.kind {
        case .maximum:
            dt_max_pool_forward(
                x, channels, window, lines.lowerBound, lines.count, operation.appliesReLU ? 1 : 0, y.elements, y.stride,
                winners(run))
        case .average:
            dt_average_pool_forward(
                x, channels, window, lines.lowerBound, lines.count, operation.countsPadding ? 1 : 0, y.elements,
                y.stride)
        }
    }

    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        let (dy, dx) = (run.pixels(site.outputGradient!), run.elements(gradient.place))
        let channels = site.output.channels
        let lines = run.lines(height: window.height, group: dt_pool_line_group(window))
        let accumulate: Int32 = gradient.accumulate ? 1 : 0
        switch operation.kind {
        case .maximum:
            dt_max_pool_backward(
                dy.elements, dy.stride, winners(run), channels, window, lines.lowerBound, lines.count, dx, accumulate)
        case .average:
            dt_average_pool_backward(
                dy.elements, dy.stride, channels, window, lines.lowerBound, lines.count,
                operation.countsPadding ? 1 : 0, dx, accumulate)
        }
    }
}
