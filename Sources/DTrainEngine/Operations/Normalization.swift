internal import CKernels
package import DTrainTensor

/// y = (x − mean) / √(variance + epsilon) · weight + bias, with mean and (biased) variance of each sample's own elements:
/// layer normalisation (Ba et al. 2016) and group normalisation (Wu and He 2018). Nothing depends on other samples.
package struct Normalization: Operation {
    /// Which elements are normalised together.
    package enum Extent: Hashable, Sendable {
        /// The last extent: features, the channels of a step or a pixel. Weight and bias: one a channel.
        case channels
        /// All pixels of channels / n channels each. Weight and bias: one a channel.
        case groups(Int)
        /// The whole sample. Weight and bias: one an element.
        case sample
    }

    package let extent: Extent
    package let epsilon: Float
    /// Whether there are a weight and a bias.
    package let isAffine: Bool

    package init(_ extent: Extent, epsilon: Float, isAffine: Bool) {
        self.extent = extent
        self.epsilon = epsilon
        self.isAffine = isAffine
    }

    package var name: String { if case .groups = extent { "groupNorm" } else { "layerNorm" } }
    package var sequences: SequenceUse { .rowwise }
    package var backwardReads: BackwardReads { .inputs }
    package var writesStridedPixels: Bool { extent != .sample }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        let channels = inputs[0].dimensions.last ?? 1
        if case .groups(let groups) = extent, groups < 1 || channels % groups != 0 {
            throw ShapeMismatch("\(groups) groups do not divide \(channels) channels")
        }
        return inputs[0]
    }

    /// Elements that the sums of one thread are taken over at once: as many as weight and bias have.
    fileprivate func rowLength(_ shape: Shape) -> Int {
        extent == .sample ? shape.count : shape.dimensions.last ?? 1
    }
    /// Blocks of a sample that are normalised one after the other.
    fileprivate func blocksPerSample(_ shape: Shape) -> Int {
        extent == .channels ? shape.count / rowLength(shape) : 1
    }
    fileprivate func norm(_ shape: Shape) -> dt_normalization {
        let row = rowLength(shape)
        var groups = 1
        if case .groups(let count) = extent { groups = count }
        return dt_normalization(
            pixels: shape.count / row / blocksPerSample(shape), groups: groups, width: row / groups, epsilon: epsilon)
    }

    /// Saved: the moments of each group. Workspace of a thread: scratch memory, then its sums for weight and bias.
    package func memory(_ extents: Extents) -> MemoryNeed {
        let norm = norm(extents.output)
        return MemoryNeed(
            saved: 2 * extents.rows * blocksPerSample(extents.output) * norm.groups,
            forwardWorkspace: extents.threads * scratchCount(extents.output),
            backwardWorkspace: extents.threads * (scratchCount(extents.output) + 2 * sumCount(extents.output)))
    }
    /// In whole cache lines, so that threads do not share one.
    fileprivate func scratchCount(_ shape: Shape) -> Int { dt_normalize_scratch(norm(shape)).wholeLines }
    fileprivate func sumCount(_ shape: Shape) -> Int { isAffine ? rowLength(shape).wholeLines : 0 }

    package func kernel(_ site: Site) -> any Kernel { NormalizationKernel(self, site) }
}

/// Threads share blocks. Each sums its gradients of weight and bias apart, and the sums are added in thread order.
private final class NormalizationKernel: Kernel {
    private let site: Site
    private let norm: dt_normalization
    private let isAffine: Bool
    private let blocksPerSample: Int
    private let rowLength: Int
    private let scratchCount: Int
    private let sumCount: Int

    init(_ operation: Normalization, _ site: Site) {
        self.site = site
        let shape = site.output.shape
        norm = operation.norm(shape)
        isAffine = operation.isAffine
        blocksPerSample = operation.blocksPerSample(shape)
        rowLength = operation.rowLength(shape)
        scratchCount = operation.scratchCount(shape)
        sumCount = operation.sumCount(shape)
    }

    /// Floats from one row of a place to the next; the rows of a sample that is normalised as a whole are samples.
    private func rowStride(_ place: Place) -> Int { rowLength == place.channels ? place.pixelStride : rowLength }

    private func moments(_ run: Run, from block: Int) -> UnsafeMutablePointer<dt_moments> {
        UnsafeMutableRawPointer(run.arena + site.saved).assumingMemoryBound(to: dt_moments.self) + block * norm.groups
    }

    private func parameter(_ run: Run, _ index: Int) -> UnsafePointer<Float>? {
        isAffine ? UnsafePointer(run.parameters + site.parameters[index].range.lowerBound) : nil
    }

    /// A thread's sums for the weight (0) or the bias (1); nil where there is no gradient to compute.
    private func sums(_ run: Run, _ index: Int, thread: Int) -> UnsafeMutablePointer<Float>? {
        guard isAffine, site.parameters[index].isTrainable else { return nil }
        return run.arena + site.backwardWorkspace + run.threadCount * scratchCount + (2 * thread + index) * sumCount
    }

    func forward(_ run: Run) {
        let (x, y, stride) = (run.pointer(site.inputs[0]), run.pointer(site.output), rowStride(site.output))
        let blocks = run.part(of: run.rows(site.output) * blocksPerSample)
        let first = blocks.lowerBound * norm.pixels
        dt_normalize_forward(
            x + first * rowLength, blocks.count, norm, parameter(run, 0), parameter(run, 1), y + first * stride, stride,
            moments(run, from: blocks.lowerBound), run.arena + site.forwardWorkspace + run.thread * scratchCount)
    }

    func backward(_ run: Run) {
        let (x, outer) = (run.pointer(site.inputs[0]), site.outputGradient!)
        let blocks = run.part(of: run.rows(site.output) * blocksPerSample)
        let first = blocks.lowerBound * norm.pixels
        let own = (sums(run, 0, thread: run.thread), sums(run, 1, thread: run.thread))
        own.0?.update(repeating: 0, count: rowLength)
        own.1?.update(repeating: 0, count: rowLength)
        let gradient = site.inputGradients[0]
        dt_normalize_backward(
            x + first * rowLength, run.pointer(outer) + first * rowStride(outer), rowStride(outer), blocks.count, norm,
            parameter(run, 0), moments(run, from: blocks.lowerBound), own.0, own.1,
            gradient.map { run.pointer($0.place) + first * rowLength }, gradient?.accumulate == true ? 1 : 0,
            run.arena + site.backwardWorkspace + run.thread * scratchCount)
        guard isAffine else { return }
        run.meet()
        for index in 0..<2 { addSums(run, index) }
    }

    /// Sets or adds to a parameter's gradient, if it has one; each thread does a part.
    private func addSums(_ run: Run, _ index: Int) {
        let parameter = site.parameters[index]
        guard let gradient = run.gradient(of: parameter) else { return }
        let part = run.part(of: rowLength, granularity: 16)
        for thread in 0..<run.threadCount {
            dt_copy_rows(
                sums(run, index, thread: thread)! + part.lowerBound, part.count, gradient + part.lowerBound, part.count,
                1, part.count, parameter.accumulate || thread > 0 ? 1 : 0)
        }
    }
}
