internal import CKernels
package import DTrainTensor

/// Softmax cross-entropy of each sample's logits against its label, with PyTorch's label smoothing.
/// Inputs: logits (classes), labels. Output: the loss of each sample; its gradient is that of the sum.
/// Where samples are mixed with partners (Zhang et al. 2017), the target is the weighted mean of both labels'.
package struct CrossEntropy: Operation {
    package let labelSmoothing: Float
    /// The loss's share in the total; times 1 for a model's own output.
    package let weight: Float

    package init(labelSmoothing: Float, weight: Float = 1) {
        self.labelSmoothing = labelSmoothing
        self.weight = weight
    }

    package var name: String { "crossEntropy" }
    package var sequences: SequenceUse { .rowwise }
    package var backwardReads: BackwardReads { .inputs }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        guard inputs[0].rank == 1 else {
            throw ShapeMismatch("the loss needs one row of logits, but the model returns \(inputs[0])")
        }
        guard labelSmoothing >= 0, labelSmoothing <= 1 else {
            throw ShapeMismatch("label smoothing lies in 0 ... 1, not at \(labelSmoothing)")
        }
        return [1]
    }
    package func memory(_ extents: Extents) -> MemoryNeed { MemoryNeed(saved: 2 * extents.rows) }
    package func kernel(_ site: Site) -> any Kernel { CrossEntropyKernel(self, site) }
}

private final class CrossEntropyKernel: Kernel {
    let operation: CrossEntropy
    let site: Site

    init(_ operation: CrossEntropy, _ site: Site) {
        self.operation = operation
        self.site = site
    }

    /// What backward needs of each row.
    private func sums(_ run: Run) -> UnsafeMutablePointer<dt_softmax_sum> {
        UnsafeMutableRawPointer(run.arena + site.saved).assumingMemoryBound(to: dt_softmax_sum.self)
    }

    func forward(_ run: Run) {
        let (logits, loss) = (run.pointer(site.inputs[0]), run.pointer(site.output))
        let (classes, sums) = (site.inputs[0].shape.count, sums(run))
        let rows = run.part(of: run.rows(site.output), granularity: 16)
        let first = rows.lowerBound
        dt_cross_entropy_forward(
            logits + first * classes, targets(run, first), rows.count, classes, operation.labelSmoothing,
            operation.weight, loss + first, sums + first)
    }

    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        let (logits, dx) = (run.pointer(site.inputs[0]), run.pointer(gradient.place))
        let (classes, sums) = (site.inputs[0].shape.count, sums(run))
        let rows = run.part(of: run.rows(site.output), granularity: 16)
        let first = rows.lowerBound
        dt_cross_entropy_backward(
            logits + first * classes, targets(run, first), sums + first, rows.count, classes, operation.labelSmoothing,
            operation.weight, dx + first * classes, gradient.accumulate ? 1 : 0)
    }
}

/// Σ (x − target)² over the elements of each sample. Inputs: prediction, target. The gradient reaches the prediction.
package struct SquaredError: Operation {
    package let weight: Float
    package init(weight: Float = 1) { self.weight = weight }
    package var name: String { "squaredError" }
    package var sequences: SequenceUse { .rowwise }
    package var backwardReads: BackwardReads { .inputs }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        guard inputs[0] == inputs[1] else {
            throw ShapeMismatch("the prediction is \(inputs[0]) and its target \(inputs[1])")
        }
        return [1]
    }
    package func kernel(_ site: Site) -> any Kernel { SquaredErrorKernel(weight, site) }
}

private final class SquaredErrorKernel: Kernel {
    let weight: Float
    let site: Site

    init(_ weight: Float, _ site: Site) {
        self.weight = weight
        self.site = site
    }

    func forward(_ run: Run) {
        let rows = run.part(of: run.rows(site.output))
        let (x, target, loss) = (run.pointer(site.inputs[0]), run.pointer(site.inputs[1]), run.pointer(site.output))
        let count = site.inputs[0].shape.count
        let offset = rows.lowerBound * count
        dt_squared_error_forward(x + offset, target + offset, rows.count, count, weight, loss + rows.lowerBound)
    }

    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        let (x, target, dx) = (run.pointer(site.inputs[0]), run.pointer(site.inputs[1]), run.pointer(gradient.place))
        let part = run.part(of: run.rows(site.output) * site.inputs[0].shape.count, granularity: 16)
        let offset = part.lowerBound
        dt_squared_error_backward(
            x + offset, target + offset, part.count, weight, dx + offset, gradient.accumulate ? 1 : 0)
    }
}

/// Labels, or a sequence's tokens, as rows of zeros with a one.
package struct OneHot: Operation {
    let classes: Int
    package init(classes: Int) { self.classes = classes }
    package var name: String { "oneHot" }
    package var readsTokens: Bool { true }
    package var sequences: SequenceUse { .rowwise }
    package func outputShape(_ inputs: [Shape]) throws -> Shape { [classes] }
    package func kernel(_ site: Site) -> any Kernel { OneHotKernel(site) }
}

private final class OneHotKernel: Kernel {
    let site: Site
    init(_ site: Site) { self.site = site }
    func forward(_ run: Run) {
        let rows = run.part(of: run.rows(site.output))
        let classes = site.output.shape.count
        let numbers: dt_targets =
            if case .labels = site.inputs[0].memory {
                targets(run, rows.lowerBound)
            } else {
                dt_targets(labels: run.tokens + rows.lowerBound, partners: nil, weights: nil)
            }
        dt_one_hot(numbers, rows.count, classes, run.pointer(site.output) + rows.lowerBound * classes)
    }
    func backward(_ run: Run) {}
}

/// The labels from sample `first` on, with those of their partners where samples are mixed (mixup, cutmix).
private func targets(_ run: Run, _ first: Int) -> dt_targets {
    dt_targets(
        labels: run.labels + first, partners: run.mixing.map { $0.partnerLabels + first },
        weights: run.mixing.map { $0.weights + first })
}

/// The sum of several losses of each sample. Nothing goes back through it: the gradient of the total is one.
package struct LossTotal: Operation {
    package init() {}
    package var name: String { "lossTotal" }
    package var sequences: SequenceUse { .rowwise }
    package func outputShape(_ inputs: [Shape]) throws -> Shape { inputs[0] }
    package func kernel(_ site: Site) -> any Kernel { LossTotalKernel(site) }
}

private final class LossTotalKernel: Kernel {
    let site: Site
    init(_ site: Site) { self.site = site }

    func forward(_ run: Run) {
        let total = run.pointer(site.output)
        for row in run.part(of: run.rows(site.output), granularity: 16) {
            var sum: Float = 0
            for input in site.inputs { sum += run.pointer(input)[row] }
            total[row] = sum
        }
    }
    func backward(_ run: Run) {}
}
