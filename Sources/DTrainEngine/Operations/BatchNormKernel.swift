internal import CKernels
internal import DTrainTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Threads share pixels; each sums apart in double and the sums are added in thread order, so that the same number of
/// threads gives the same bits. Forward reads x twice (statistics, then normalisation with residual and ReLU in one pass);
/// backward reads dy, x (and y for ReLU's mask) twice.
final class BatchNormKernel: Kernel {
    private let operation: BatchNorm
    private let site: Site
    private let memory: BatchNormMemory
    private let channels: Int

    init(_ operation: BatchNorm, _ site: Site) {
        self.operation = operation
        self.site = site
        channels = site.output.channels
        memory = BatchNormMemory(channels: channels, threads: site.extents.threads)
    }

    // MARK: What lies where

    private func parameter(_ index: Int, _ run: Run) -> UnsafeMutablePointer<Float> {
        run.parameters + site.parameters[index].range.lowerBound
    }
    private func weight(_ run: Run) -> UnsafeMutablePointer<Float>? { operation.isAffine ? parameter(0, run) : nil }
    private func bias(_ run: Run) -> UnsafeMutablePointer<Float>? { operation.isAffine ? parameter(1, run) : nil }
    private func saved(_ index: Int, _ run: Run) -> UnsafeMutablePointer<Float> {
        memory.vector(index, in: run.arena + site.saved)
    }
    private func mean(_ run: Run) -> UnsafeMutablePointer<Float> { saved(0, run) }
    private func inverseDeviation(_ run: Run) -> UnsafeMutablePointer<Float> { saved(1, run) }
    /// This thread's pixels, counted over all samples.
    private func pixels(_ run: Run) -> Range<Int> { run.part(of: run.rows * site.output.pixels) }
    private func channelPart(_ run: Run) -> Range<Int> { run.part(of: channels, granularity: 16) }

    /// Both sums of a channel over all threads, added in thread order.
    private func threadSums(
        _ run: Run, _ workspace: UnsafeMutablePointer<Float>, _ channel: Int
    ) -> (first: Double, second: Double) {
        var total = (first: 0.0, second: 0.0)
        for thread in 0..<run.threadCount {
            let sums = memory.sums(workspace, thread: thread)
            total.first += sums[channel]
            total.second += sums[channels + channel]
        }
        return total
    }

    // MARK: Forward

    func forward(_ run: Run) {
        if operation.usesRunningStatistics {
            let (mean, variance) = (parameter(operation.firstBuffer, run), parameter(operation.firstBuffer + 1, run))
            for channel in channelPart(run) {
                setScale(run, channel, mean: Double(mean[channel]), variance: Double(variance[channel]))
            }
        } else {
            measure(run)
        }
        run.meet()
        let (x, y, stride) = (run.pointer(site.inputs[0]), run.pointer(site.output), site.output.pixelStride)
        let residual = operation.hasResidual ? run.pointer(site.inputs[1]) : nil
        let part = pixels(run)
        dt_batch_norm_apply(
            x + part.lowerBound * channels, part.count, channels, saved(2, run), saved(3, run),
            residual.map { UnsafePointer($0 + part.lowerBound * channels) }, operation.appliesReLU ? 1 : 0,
            y + part.lowerBound * stride, stride)
    }

    /// Mean, deviation and with them scale and shift of this thread's channels, from the batch.
    private func measure(_ run: Run) {
        let x = run.pointer(site.inputs[0])
        let workspace = run.arena + site.forwardWorkspace
        let own = memory.sums(workspace, thread: run.thread)
        own.update(repeating: 0, count: 2 * channels)
        let part = pixels(run)
        // The first pixel serves as the shift: a value of the data themselves.
        dt_batch_norm_sums(x + part.lowerBound * channels, part.count, channels, x, own, own + channels)
        run.meet()

        let count = Double(run.rows * site.output.pixels)
        let local = BatchNormStatistics(base: run.statistics + site.statistics, channels: channels)
        let total = memory.sharedSums(workspace)
        if run.thread == 0 { (local.samples, total.samples) = (count, count) }
        for channel in channelPart(run) {
            let (sum, square) = threadSums(run, workspace, channel)
            let shift = Double(x[channel])
            local.sums[channel] = sum + count * shift
            local.squares[channel] = square + shift * (2 * sum + count * shift)
            guard operation.isSynchronised else {
                let offset = sum / count
                setScale(
                    run, channel, mean: shift + offset, variance: max(0, square / count - offset * offset))
                continue
            }
            total.sums[channel] = local.sums[channel]
            total.squares[channel] = local.squares[channel]
        }
        guard operation.isSynchronised else { return }
        run.sumOverRanks(total.base, count: BatchNormStatistics.count(channels: channels))
        for channel in channelPart(run) {
            setScale(
                run, channel, mean: total.mean(channel), variance: total.centredSquares(channel) / total.samples)
        }
        if run.thread == 0 { globalCount = total.samples }
    }

    /// Samples × pixels of all ranks in the last forward pass; written and read by thread 0 between meetings.
    private nonisolated(unsafe) var globalCount = 0.0

    private func setScale(_ run: Run, _ channel: Int, mean: Double, variance: Double) {
        let inverse = 1 / (variance + Double(operation.epsilon)).squareRoot()
        let scale = Double(weight(run)?[channel] ?? 1) * inverse
        self.mean(run)[channel] = Float(mean)
        inverseDeviation(run)[channel] = Float(inverse)
        saved(2, run)[channel] = Float(scale)
        saved(3, run)[channel] = Float(Double(bias(run)?[channel] ?? 0) - mean * scale)
    }

    // MARK: Backward

    func backward(_ run: Run) {
        let (dy, stride) = (run.pointer(site.outputGradient!), site.outputGradient!.pixelStride)
        let y = operation.appliesReLU ? UnsafePointer(run.pointer(site.output)) : nil
        let x = operation.usesRunningStatistics ? nil : UnsafePointer(run.pointer(site.inputs[0]))
        let part = pixels(run)
        let (dyPart, yPart, xPart) = (
            dy + part.lowerBound * stride, y.map { $0 + part.lowerBound * site.output.pixelStride },
            x.map { $0 + part.lowerBound * channels }
        )
        var gradient = dt_batch_norm_gradient(scale: saved(2, run), offset: nil, mean: nil, slope: nil)
        if let xPart {
            let workspace = run.arena + site.backwardWorkspace
            let own = memory.sums(workspace, thread: run.thread)
            own.update(repeating: 0, count: 2 * channels)
            dt_batch_norm_backward_sums(
                dyPart, stride, yPart, site.output.pixelStride, xPart, part.count, channels, mean(run), own,
                own + channels)
            run.meet()
            combine(run, workspace)
            gradient.offset = UnsafePointer(saved(3, run))
            gradient.mean = UnsafePointer(mean(run))
            gradient.slope = UnsafePointer(saved(4, run))
            run.meet()
        }
        let (input, residual) = (site.inputGradients[0], operation.hasResidual ? site.inputGradients[1] : nil)
        func target(_ gradient: Site.Gradient?) -> UnsafeMutablePointer<Float>? {
            gradient.map { run.pointer($0.place) + part.lowerBound * channels }
        }
        dt_batch_norm_backward(
            dyPart, stride, yPart, site.output.pixelStride, xPart, part.count, channels, gradient, target(input),
            input?.accumulate == true ? 1 : 0, target(residual), residual?.accumulate == true ? 1 : 0)
    }

    /// Adds up the threads' sums of this thread's channels: gradients of weight and bias, and what dx subtracts.
    private func combine(_ run: Run, _ workspace: UnsafeMutablePointer<Float>) {
        let total = memory.sharedSums(workspace)
        let weight = operation.isAffine ? run.gradient(of: site.parameters[0]) : nil
        let bias = operation.isAffine ? run.gradient(of: site.parameters[1]) : nil
        func set(_ gradient: UnsafeMutablePointer<Float>?, _ index: Int, _ channel: Int, _ value: Double) {
            guard let gradient else { return }
            gradient[channel] = Float(value) + (site.parameters[index].accumulate ? gradient[channel] : 0)
        }
        var count = Double(run.rows * site.output.pixels)
        for channel in channelPart(run) {
            let (sum, product) = threadSums(run, workspace, channel)
            total.sums[channel] = sum
            total.squares[channel] = product
            set(weight, 0, channel, product * Double(inverseDeviation(run)[channel]))
            set(bias, 1, channel, sum)
        }
        if operation.isSynchronised {
            if run.thread == 0 { total.samples = 0 }
            run.sumOverRanks(total.base, count: BatchNormStatistics.count(channels: channels))
            count = globalCount
        }
        for channel in channelPart(run) {
            let inverse = Double(inverseDeviation(run)[channel])
            saved(3, run)[channel] = Float(total.sums[channel] / count)
            saved(4, run)[channel] = Float(total.squares[channel] / count * inverse * inverse)
        }
    }

}
