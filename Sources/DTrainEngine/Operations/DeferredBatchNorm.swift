internal import CKernels
internal import DTrainTensor

/// A batch-norm as the only reader of its output knows it, who does its work: normalises what it reads and, on the way back,
/// sums up what the batch-norm's gradients need, a block at a time, from the gradient that it has just written.
package struct DeferredBatchNorm: Sendable {
    let memory: BatchNormMemory
    let appliesReLU: Bool

    /// Sets pixels of `y` to the normalised ones of `x`.
    func normalize(_ run: Run, _ x: Pixels, pixels: Int, into y: Pixels) {
        dt_batch_norm_apply(
            x, pixels, memory.channels, memory.vector(.scale, run), memory.vector(.shift, run), .none,
            appliesReLU ? 1 : 0, y)
    }

    func beginSumming(_ run: Run) { memory.clearSums(run) }

    /// Takes pixels into this thread's sums: `dy` is the gradient of the normalised value, `x` what is normalised.
    func sumGradients(_ run: Run, _ dy: Pixels, _ x: Pixels, pixels: Int) {
        memory.sumGradients(run, dy, appliesReLU ? memory.inputMask(run) : dt_batch_norm_mask(), x, pixels: pixels)
    }
}
