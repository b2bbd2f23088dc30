internal import CKernels
package import DTrainTensor

/// y[c] = x[c] / (k + alpha / size · Σ x[c']²)^beta, the sum over `size` neighbouring channels of the same pixel,
/// c − size/2 … c + (size − 1)/2 (Krizhevsky et al. 2012; alpha divided by the size as in PyTorch).
package struct LocalResponseNorm: Operation {
    package let size: Int
    package let alpha: Float
    package let beta: Float
    package let k: Float

    package init(size: Int, alpha: Float, beta: Float, k: Float) {
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
    }

    package var name: String { "localResponseNorm" }
    package var backwardReads: BackwardReads { .inputs }
    package var writesStridedPixels: Bool { true }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        try inputs[0].requireImage("local response normalisation")
        guard size >= 1 else { throw ShapeMismatch("a neighbourhood has at least one channel, not \(size)") }
        return inputs[0]
    }

    fileprivate func norm(channels: Int) -> dt_local_response {
        dt_local_response(channels: channels, size: size, alpha: alpha, beta: beta, k: k)
    }
    /// One thread's scratch memory, in whole cache lines.
    fileprivate func scratchCount(channels: Int) -> Int {
        dt_local_response_scratch(norm(channels: channels)).wholeLines
    }

    package func memory(_ extents: Extents) -> MemoryNeed {
        let count = extents.threads * scratchCount(channels: extents.output.imageChannels)
        return MemoryNeed(forwardWorkspace: count, backwardWorkspace: count)
    }
    package func kernel(_ site: Site) -> any Kernel { LocalResponseNormKernel(self, site) }
}

private final class LocalResponseNormKernel: Kernel {
    private let site: Site
    private let norm: dt_local_response
    private let scratchCount: Int

    init(_ operation: LocalResponseNorm, _ site: Site) {
        self.site = site
        norm = operation.norm(channels: site.output.channels)
        scratchCount = operation.scratchCount(channels: site.output.channels)
    }

    func forward(_ run: Run) {
        let (input, output) = (site.inputs[0], site.output)
        let pixels = run.part(of: run.rows * output.pixels)
        dt_local_response_norm_forward(
            run.pointer(input) + pixels.lowerBound * input.pixelStride, pixels.count, norm,
            run.pointer(output) + pixels.lowerBound * output.pixelStride, output.pixelStride,
            run.arena + site.forwardWorkspace + run.thread * scratchCount)
    }

    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        let (input, outer) = (site.inputs[0], site.outputGradient!)
        let pixels = run.part(of: run.rows * outer.pixels)
        let first = pixels.lowerBound
        dt_local_response_norm_backward(
            run.pointer(input) + first * input.pixelStride, run.pointer(outer) + first * outer.pixelStride,
            outer.pixelStride, pixels.count, norm, run.pointer(gradient.place) + first * gradient.place.pixelStride,
            gradient.accumulate ? 1 : 0, run.arena + site.backwardWorkspace + run.thread * scratchCount)
    }
}
