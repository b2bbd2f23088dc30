internal import CKernels
package import DTrainTensor

/// y[i] = e^x[i] / Σ e^x[j] over the last extent: features, or the channels of each pixel or step.
package struct Softmax: Operation {
    package init() {}
    package var name: String { "softmax" }
    package var sequences: SequenceUse { .rowwise }
    package var backwardReads: BackwardReads { .output }
    package var worksInPlace: Bool { true }
    package func outputShape(_ inputs: [Shape]) throws -> Shape { inputs[0] }
    package func kernel(_ site: Site) -> any Kernel { SoftmaxKernel(site) }
}

private final class SoftmaxKernel: Kernel {
    private let site: Site
    init(_ site: Site) { self.site = site }

    func forward(_ run: Run) {
        let (x, y, count) = (run.pointer(site.inputs[0]), run.pointer(site.output), site.output.channels)
        let rows = run.part(of: run.rows(site.output) * site.output.pixels)
        let first = rows.lowerBound * count
        dt_softmax_forward(x + first, rows.count, count, y + first)
    }

    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        let (y, dy, dx) = (run.pointer(site.output), run.pointer(site.outputGradient!), run.pointer(gradient.place))
        let count = site.output.channels
        let rows = run.part(of: run.rows(site.output) * site.output.pixels)
        let first = rows.lowerBound * count
        dt_softmax_backward(
            y + first, dy + first, rows.count, count, dx + first, gradient.accumulate ? 1 : 0)
    }
}
