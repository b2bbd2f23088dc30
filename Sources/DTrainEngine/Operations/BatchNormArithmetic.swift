internal import CKernels
internal import DTrainTensor

/// A batch-norm that an operation is, or has inside.
package struct BatchNormUse {
    package let operation: BatchNorm
    /// Where its parameters begin among those of the node.
    package let firstParameter: Int
    package let appliesReLU: Bool
    package let hasResidual: Bool
    /// Whether the output stays what it was before normalisation: its only reader, a convolution, normalises what it reads.
    package let isDeferred: Bool
}

/// What a batch-norm computes of one thread's pixels, in its own kernel or in that of the convolution before it.
///
/// Threads share pixels. Each sums apart in double and the sums are added in thread order, so that the same number of
/// threads gives the same bits.
struct BatchNormArithmetic: Sendable {
    private let operation: BatchNorm
    private let site: Site
    private let firstParameter: Int
    private let appliesReLU: Bool
    private let hasResidual: Bool
    private let isDeferred: Bool
    private let memory: BatchNormMemory
    private var channels: Int { memory.channels }

    /// - Parameter site: its saved memory begins with that of the batch-norm.
    init(_ batchNorm: BatchNormUse, _ site: Site) {
        operation = batchNorm.operation
        firstParameter = batchNorm.firstParameter
        (appliesReLU, hasResidual) = (batchNorm.appliesReLU, batchNorm.hasResidual)
        isDeferred = batchNorm.isDeferred
        self.site = site
        memory = BatchNormMemory(channels: site.output.channels, threads: site.extents.threads, start: site.saved)
    }

    // MARK: What lies where

    private func parameter(_ index: Int, _ run: Run) -> UnsafeMutablePointer<Float> {
        run.parameters + site.parameters[firstParameter + index].range.lowerBound
    }
    private func vector(_ vector: BatchNormMemory.Vector, _ run: Run) -> UnsafeMutablePointer<Float> {
        memory.vector(vector, run)
    }
    private func channelPart(_ run: Run) -> Range<Int> { run.part(of: channels, granularity: 16) }
    /// The first channels, whose statistics an earlier batch-norm has.
    private var knownChannels: Int { site.knownStatistics?.memory.channels ?? 0 }

    // MARK: Forward

    func beginMeasuring(_ run: Run) { memory.clearSums(run) }

    /// Takes `pixels` pixels into this thread's sums.
    func measure(_ run: Run, _ x: Pixels, pixels: Int) {
        let sums = memory.threadSums(run, thread: run.thread)
        // The first pixel serves as the shift: a value of the data themselves.
        if sums.total.samples == 0, pixels > 0 {
            x.elements.widenRows(stride: channels, to: sums.shift, stride: channels, rows: 1, count: channels)
        }
        sums.total.samples += Double(pixels)
        let known = knownChannels
        dt_batch_norm_sums(
            Pixels(elements: x.elements + known, stride: x.stride), pixels, channels - known, sums.shift + known,
            sums.total.sums + known, sums.total.squares + known)
    }

    /// Mean, deviation and with them scale and shift of this thread's channels. All threads come here after they have met,
    /// and meet before they go on.
    func finishMeasuring(_ run: Run) {
        let count = Double(run.rows * site.output.pixels)
        let local = BatchNormStatistics(base: run.statistics + site.statistics, channels: channels)
        let total = memory.sharedSums(run)
        if run.thread == 0 { (local.samples, total.samples) = (count, count) }
        for channel in channelPart(run) {
            if channel < knownChannels {
                takeOver(run, site.knownStatistics!, channel, into: local)
                continue
            }
            let (sum, square) = sums(run, channel, about: 0)
            (local.sums[channel], local.squares[channel]) = (sum, square)
            (total.sums[channel], total.squares[channel]) = (sum, square)
            guard !operation.isSynchronised else { continue }
            let mean = sum / count
            setScale(run, channel, mean: mean, variance: max(0, sums(run, channel, about: mean).squares / count))
        }
        guard operation.isSynchronised else { return }
        run.sumOverRanks(total.base, count: BatchNormStatistics.count(channels: channels))
        for channel in channelPart(run) {
            setScale(
                run, channel, mean: total.mean(channel), variance: total.centredSquares(channel) / total.samples)
        }
        if run.thread == 0 { memory.globalCount(run).pointee = total.samples }
    }

    private func takeOver(_ run: Run, _ known: KnownStatistics, _ channel: Int, into local: BatchNormStatistics) {
        let earlier = BatchNormStatistics(base: run.statistics + known.statistics, channels: known.memory.channels)
        (local.sums[channel], local.squares[channel]) = (earlier.sums[channel], earlier.squares[channel])
        setScale(
            run, channel, mean: earlier.mean(channel),
            inverseDeviation: Double(known.memory.vector(.inverseDeviation, run)[channel]))
    }

    /// Σ (x − centre) and Σ (x − centre)² of a channel over all threads' pixels.
    private func sums(_ run: Run, _ channel: Int, about centre: Double) -> (sum: Double, squares: Double) {
        var total = (sum: 0.0, squares: 0.0)
        for thread in 0..<run.threadCount {
            let sums = memory.threadSums(run, thread: thread)
            let offset = Double(sums.shift[channel]) - centre
            total.sum += sums.total.sums[channel] + sums.total.samples * offset
            total.squares +=
                sums.total.squares[channel] + offset * (2 * sums.total.sums[channel] + sums.total.samples * offset)
        }
        return total
    }

    /// As `finishMeasuring`, from the running statistics.
    func useRunningStatistics(_ run: Run) {
        let (mean, variance) = (parameter(operation.firstBuffer, run), parameter(operation.firstBuffer + 1, run))
        for channel in channelPart(run) {
            setScale(run, channel, mean: Double(mean[channel]), variance: Double(variance[channel]))
        }
    }

    private func setScale(_ run: Run, _ channel: Int, mean: Double, variance: Double) {
        setScale(
            run, channel, mean: mean, inverseDeviation: 1 / (variance + Double(operation.epsilon)).squareRoot())
    }

    private func setScale(_ run: Run, _ channel: Int, mean: Double, inverseDeviation inverse: Double) {
        let scale = (operation.isAffine ? Double(parameter(0, run)[channel]) : 1) * inverse
        let bias = operation.isAffine ? Double(parameter(1, run)[channel]) : 0
        vector(.mean, run)[channel] = Float(mean)
        vector(.inverseDeviation, run)[channel] = Float(inverse)
        vector(.scale, run)[channel] = Float(scale)
        vector(.shift, run)[channel] = Float(bias - mean * scale)
    }

    /// Sets `pixels` of the output to f(x · scale + shift (+ residual)), where `x` is all pixels.
    func normalize(_ run: Run, _ x: Pixels, pixels: Range<Int>) {
        let residual = hasResidual ? run.pixels(site.inputs[1]).from(pixels.lowerBound).elements : .none
        dt_batch_norm_apply(
            x.from(pixels.lowerBound), pixels.count, channels, vector(.scale, run), vector(.shift, run), residual,
            appliesReLU ? 1 : 0, run.pixels(site.output).from(pixels.lowerBound))
    }

    // MARK: Backward

    /// Where ReLU let pixels pass, from pixel `first` on: known from the input unless something was added to it, or it is
    /// not kept.
    private func mask(_ run: Run, from first: Int) -> dt_batch_norm_mask {
        guard appliesReLU else { return dt_batch_norm_mask() }
        guard hasResidual || operation.usesRunningStatistics else {
            return memory.inputMask(run)
        }
        let y = run.pixels(site.output).from(first)
        return dt_batch_norm_mask(y: y.elements.start, y_stride: y.stride, scale: nil, shift: nil)
    }

    private func outputGradient(_ run: Run, from first: Int) -> Pixels { run.pixels(site.outputGradient!).from(first) }

    /// Forms the gradients of weight and bias, and what dx subtracts, from sums of dz and of dz (x − mean). Where the reader
    /// normalised, it has summed as well; else each thread sums over its `pixels`, `x` being all pixels, and meets the others.
    /// All threads meet before they go on.
    func formGradients(_ run: Run, _ x: Pixels, pixels: Range<Int>) {
        if !isDeferred {
            memory.clearSums(run)
            memory.sumGradients(
                run, outputGradient(run, from: pixels.lowerBound), mask(run, from: pixels.lowerBound),
                x.from(pixels.lowerBound), pixels: pixels.count)
            run.meet()
        }
        combineGradients(run)
    }

    /// Adds up the threads' sums of this thread's channels.
    private func combineGradients(_ run: Run) {
        let total = memory.sharedSums(run)
        let weight = operation.isAffine ? run.gradient(of: site.parameters[firstParameter]) : nil
        let bias = operation.isAffine ? run.gradient(of: site.parameters[firstParameter + 1]) : nil
        func set(_ gradient: UnsafeMutablePointer<Float>?, _ index: Int, _ channel: Int, _ value: Double) {
            guard let gradient else { return }
            let accumulates = site.parameters[firstParameter + index].accumulate
            gradient[channel] = Float(value) + (accumulates ? gradient[channel] : 0)
        }
        var count = Double(run.rows * site.output.pixels)
        for channel in channelPart(run) {
            var (sum, product) = (0.0, 0.0)
            for thread in 0..<run.threadCount {
                let sums = memory.threadSums(run, thread: thread)
                sum += sums.total.sums[channel]
                product += sums.total.squares[channel]
            }
            (total.sums[channel], total.squares[channel]) = (sum, product)
            set(weight, 0, channel, product * Double(vector(.inverseDeviation, run)[channel]))
            set(bias, 1, channel, sum)
        }
        if operation.isSynchronised {
            if run.thread == 0 { total.samples = 0 }
            run.sumOverRanks(total.base, count: BatchNormStatistics.count(channels: channels))
            count = memory.globalCount(run).pointee
        }
        for channel in channelPart(run) {
            let inverse = Double(vector(.inverseDeviation, run)[channel])
            vector(.offset, run)[channel] = Float(total.sums[channel] / count)
            vector(.slope, run)[channel] = Float(total.squares[channel] / count * inverse * inverse)
        }
    }

    /// Sets, or adds to, the gradients of `pixels` of the input and of the residual. `x` and `residual` are all pixels, `dx`
    /// those of the range; null ones are left out.
    func propagate(
        _ run: Run, _ x: Pixels, pixels: Range<Int>, into dx: Pixels, accumulate: Bool = false,
        residual: Site.Gradient? = nil
    ) {
        let isMeasured = !operation.usesRunningStatistics
        let gradient = dt_batch_norm_gradient(
            scale: vector(.scale, run), offset: isMeasured ? UnsafePointer(vector(.offset, run)) : nil,
            mean: isMeasured ? UnsafePointer(vector(.mean, run)) : nil,
            slope: isMeasured ? UnsafePointer(vector(.slope, run)) : nil)
        dt_batch_norm_backward(
            outputGradient(run, from: pixels.lowerBound), mask(run, from: pixels.lowerBound), x.from(pixels.lowerBound),
            pixels.count, channels, gradient, dx, accumulate ? 1 : 0,
            residual.map { run.elements($0.place) + pixels.lowerBound * channels } ?? .none,
            residual?.accumulate == true ? 1 : 0)
    }
}
