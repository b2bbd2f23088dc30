internal import CKernels
package import DTrainTensor

/// Every stride-th pixel, beginning with the first, and channels of zeros appended: a shortcut without parameters
/// (He et al. 2015, option A).
package struct ZeroPaddingShortcut: Operation {
    package let channels: Int
    package let stride: Pair

    package init(channels: Int, stride: Pair) {
        self.channels = channels
        self.stride = stride
    }

    package var name: String { "zeroPaddingShortcut" }
    package var window: (kernel: Int, stride: Int) { (1, stride.width) }
    package var writesStridedPixels: Bool { true }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        let input = inputs[0]
        try input.requireImage("a shortcut")
        guard stride.height >= 1, stride.width >= 1 else {
            throw ShapeMismatch("a stride must be at least 1, not \(stride)")
        }
        guard channels >= input.imageChannels else {
            throw ShapeMismatch(
                "a shortcut that appends zeros cannot go from \(input.imageChannels) channels to \(channels)")
        }
        return input.image(
            height: (input.imageHeight + stride.height - 1) / stride.height,
            width: (input.imageWidth + stride.width - 1) / stride.width, channels: channels)
    }
    package func kernel(_ site: Site) -> any Kernel { ZeroPaddingShortcutKernel(self, site) }
}

private final class ZeroPaddingShortcutKernel: Kernel {
    private let site: Site
    private let subsampling: dt_subsampling

    init(_ operation: ZeroPaddingShortcut, _ site: Site) {
        self.site = site
        let input = site.inputs[0].shape
        subsampling = dt_subsampling(
            height: input.imageHeight, width: input.imageWidth, channels: input.imageChannels,
            stride_height: operation.stride.height, stride_width: operation.stride.width,
            output_channels: operation.channels)
    }

    func forward(_ run: Run) {
        let (input, output) = (site.inputs[0], site.output)
        let samples = run.part(of: run.rows)
        dt_subsample_forward(
            run.pointer(input) + samples.lowerBound * input.sampleStride, samples.count, subsampling,
            run.pointer(output) + samples.lowerBound * output.sampleStride, output.pixelStride)
    }

    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        let outer = site.outputGradient!
        let samples = run.part(of: run.rows)
        dt_subsample_backward(
            run.pointer(outer) + samples.lowerBound * outer.sampleStride, outer.pixelStride, samples.count, subsampling,
            run.pointer(gradient.place) + samples.lowerBound * gradient.place.sampleStride, gradient.accumulate ? 1 : 0)
    }
}
