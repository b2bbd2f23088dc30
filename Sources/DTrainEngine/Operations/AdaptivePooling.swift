internal import CKernels
package import DTrainTensor

/// The maximum or the mean over windows that together cover the image and give an output of the wanted size, whatever
/// the input's: output row o sees the rows from ⌊o · height / outputs⌋ up to ⌈(o + 1) · height / outputs⌉, that one excluded
/// (PyTorch's rule). Windows may differ by a row and overlap.
package struct AdaptivePooling: Operation {
    package let kind: Pooling.Kind
    /// The output's extents.
    package let size: Pair

    package init(_ kind: Pooling.Kind, to size: Pair) {
        self.kind = kind
        self.size = size
    }

    package var name: String { kind == .maximum ? "adaptiveMaxPool" : "adaptiveAveragePool" }
    package var writesStridedPixels: Bool { true }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        let input = inputs[0]
        try input.requireImage("pooling")
        guard size.height >= 1, size.width >= 1 else {
            throw ShapeMismatch("pooling to \(size) leaves nothing: both extents must be at least 1")
        }
        return input.image(height: size.height, width: size.width, channels: input.imageChannels)
    }

    /// One Int32 an output element: the pixel that won.
    package func memory(_ extents: Extents) -> MemoryNeed {
        MemoryNeed(saved: kind == .maximum ? extents.rows * extents.output.count : 0)
    }
    package func storedElements(_ extents: Extents) -> StoredElements { .converted }
    package func kernel(_ site: Site) -> any Kernel { AdaptivePoolingKernel(kind, site) }
}

private final class AdaptivePoolingKernel: Kernel {
    private let kind: Pooling.Kind
    private let site: Site
    private let window: dt_adaptive_window

    init(_ kind: Pooling.Kind, _ site: Site) {
        self.kind = kind
        self.site = site
        let (input, output) = (site.inputs[0].shape, site.output.shape)
        window = dt_adaptive_window(
            height: input.imageHeight, width: input.imageWidth, output_height: output.imageHeight,
            output_width: output.imageWidth, channels: input.imageChannels)
    }

    private func winners(_ run: Run, from sample: Int) -> UnsafeMutablePointer<Int32> {
        UnsafeMutableRawPointer(run.arena + site.saved).assumingMemoryBound(to: Int32.self)
            + sample * site.output.shape.count
    }

    func forward(_ run: Run) {
        let (input, output) = (site.inputs[0], site.output)
        let samples = run.part(of: run.rows)
        let x = run.elements(input) + samples.lowerBound * input.sampleStride
        let y = run.elements(output) + samples.lowerBound * output.sampleStride
        switch kind {
        case .maximum:
            dt_adaptive_max_pool_forward(
                x, samples.count, window, y, output.pixelStride, winners(run, from: samples.lowerBound))
        case .average: dt_adaptive_average_pool_forward(x, samples.count, window, y, output.pixelStride)
        }
    }

    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        let outer = site.outputGradient!
        let samples = run.part(of: run.rows)
        let dy = run.elements(outer) + samples.lowerBound * outer.sampleStride
        let dx = run.elements(gradient.place) + samples.lowerBound * gradient.place.sampleStride
        let accumulate: Int32 = gradient.accumulate ? 1 : 0
        switch kind {
        case .maximum:
            dt_adaptive_max_pool_backward(
                dy, outer.pixelStride, winners(run, from: samples.lowerBound), samples.count, window, dx, accumulate)
        case .average:
            dt_adaptive_average_pool_backward(dy, outer.pixelStride, samples.count, window, dx, accumulate)
        }
    }
}
