internal import DTrainTensor

/// A batch-norm that no convolution takes along. Forward reads x for the statistics that no earlier one has, and once more to
/// normalise it unless its reader does. Backward reads dy and x for its sums unless its reader has them, and once more.
final class BatchNormKernel: Kernel {
    private let operation: BatchNorm
    private let site: Site
    private let arithmetic: BatchNormArithmetic

    init(_ operation: BatchNorm, _ site: Site) {
        self.operation = operation
        self.site = site
        arithmetic = BatchNormArithmetic(operation.use, site)
    }

    /// This thread's pixels, counted over all samples.
    private func pixels(_ run: Run) -> Range<Int> { run.part(of: run.rows * site.output.pixels) }

    func forward(_ run: Run) {
        let part = pixels(run)
        let x = run.pixels(site.inputs[0])
        if operation.usesRunningStatistics {
            arithmetic.useRunningStatistics(run)
        } else {
            arithmetic.beginMeasuring(run)
            arithmetic.measure(run, x.from(part.lowerBound), pixels: part.count)
            run.meet()
            arithmetic.finishMeasuring(run)
        }
        if operation.isDeferred { return }
        run.meet()
        arithmetic.normalize(run, x, pixels: part)
    }

    func backward(_ run: Run) {
        let x = operation.usesRunningStatistics ? .none : run.pixels(site.inputs[0])
        let part = pixels(run)
        if !operation.usesRunningStatistics {
            arithmetic.formGradients(run, x, pixels: part)
            run.meet()
        }
        let input = site.inputGradients[0]
        arithmetic.propagate(
            run, x, pixels: part, into: input.map { run.pixels($0.place).from(part.lowerBound) } ?? .none,
            accumulate: input?.accumulate == true, residual: operation.hasResidual ? site.inputGradients[1] : nil)
    }
}
