internal import CKernels

/// The memory of a batch-norm, in floats: vectors, the pixels of all ranks, and the sums of a pass, first those of the forward
/// pass and then those of the backward one.
struct BatchNormMemory: Sendable {
    /// A float a channel, kept from forward to backward. `scale` and `shift` make the forward pass, `offset` and `slope`
    /// belong to the backward pass.
    enum Vector: Int, CaseIterable { case mean, inverseDeviation, scale, shift, offset, slope }

    let channels: Int
    let threads: Int
    /// Where it begins in the arena.
    let start: Int

    init(channels: Int, threads: Int, start: Int = 0) {
        self.channels = channels
        self.threads = threads
        self.start = start
    }

    var count: Int { sharedSums + statisticsCount + threads * threadSumCount }
    private var globalCount: Int { Vector.allCases.count * channels.wholeLines }
    /// Those of all threads together, then those of each.
    private var sharedSums: Int { globalCount + 1.wholeLines }
    private var statisticsCount: Int { (2 * BatchNormStatistics.count(channels: channels)).wholeLines }
    private var threadSumCount: Int { statisticsCount + channels.wholeLines }

    func vector(_ vector: Vector, _ run: Run) -> UnsafeMutablePointer<Float> {
        run.arena + start + vector.rawValue * channels.wholeLines
    }
    /// Where ReLU lets values pass, as the input tells.
    func inputMask(_ run: Run) -> dt_batch_norm_mask {
        dt_batch_norm_mask(y: nil, y_stride: 0, scale: vector(.scale, run), shift: vector(.shift, run))
    }
    /// Samples × pixels of all ranks in the last forward pass, where they are synchronised.
    func globalCount(_ run: Run) -> UnsafeMutablePointer<Double> { doubles(run.arena + start + globalCount) }
    func sharedSums(_ run: Run) -> BatchNormStatistics {
        BatchNormStatistics(base: doubles(run.arena + start + sharedSums), channels: channels)
    }
    func threadSums(_ run: Run, thread: Int) -> BatchNormThreadSums {
        let sums = run.arena + start + sharedSums + statisticsCount + thread * threadSumCount
        return BatchNormThreadSums(
            total: BatchNormStatistics(base: doubles(sums), channels: channels), shift: sums + statisticsCount)
    }
    func clearSums(_ run: Run) { threadSums(run, thread: run.thread).clear() }
    /// Takes pixels into this thread's sums of the backward pass: `dy` is the output's gradient, of which `mask` lets dz pass, and
    /// `x` what is normalised.
    func sumGradients(_ run: Run, _ dy: Pixels, _ mask: dt_batch_norm_mask, _ x: Pixels, pixels: Int) {
        let sums = threadSums(run, thread: run.thread)
        dt_batch_norm_backward_sums(
            dy, mask, x, pixels, channels, vector(.mean, run), sums.total.sums, sums.total.squares)
    }
    private func doubles(_ floats: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Double> {
        UnsafeMutableRawPointer(floats).assumingMemoryBound(to: Double.self)
    }
}

/// What one thread has summed up: its pixels, and the two sums of a pass in each channel.
struct BatchNormThreadSums {
    let total: BatchNormStatistics
    /// What the values of the forward pass were taken relative to.
    let shift: UnsafeMutablePointer<Float>

    func clear() {
        total.base.update(repeating: 0, count: BatchNormStatistics.count(channels: total.channels))
        shift.update(repeating: 0, count: total.channels)
    }
}
