internal import DTrainTensor

/// A batch-norm's running statistics and where a step leaves what moves them.
struct RunningStatistics {
    private let momentum: Float?
    private let channels: Int
    /// Offsets: of the step's statistics in doubles, of the buffers in the arena.
    private let statistics: Int
    private let mean: Int
    private let variance: Int
    private let counter: Int

    init(_ batchNorm: BatchNormUse, _ site: Site) {
        momentum = batchNorm.operation.momentum
        channels = site.output.channels
        statistics = site.statistics
        let buffers = site.parameters[(batchNorm.firstParameter + batchNorm.operation.firstBuffer)...].map(
            \.range.lowerBound)
        (mean, variance, counter) = (buffers[0], buffers[1], buffers[2])
    }

    /// Moves the buffers in `arena` towards the statistics in `sums`, those of a whole step over all shards and ranks.
    func update(_ arena: UnsafeMutablePointer<Float>, with sums: UnsafeMutablePointer<Double>) {
        let step = BatchNormStatistics(base: sums + statistics, channels: channels)
        step.update(
            momentum, mean: arena + mean, variance: arena + variance,
            counter: UnsafeMutableRawPointer(arena + counter).assumingMemoryBound(to: Int64.self))
    }
}
