internal import CKernels
package import DTrainTensor

/// Batch normalisation over the channels of an image or a sequence, or over features (Ioffe and Szegedy 2015):
/// y = f((x − mean) / √(variance + ε) · weight + bias (+ residual)), per channel.
///
/// Mean and (biased) variance are those of the shard, of all shards at once (synchronised), or constants: the running
/// statistics. Parameters, in this order: `weight` and `bias` where affine; `running_mean`, `running_var` and
/// `num_batches_tracked`, which are buffers. Inputs: x, and the residual where something was fused.
package struct BatchNorm: Operation, ActivationFusing, ResidualFusing, BatchNormDeferring {
    package let epsilon: Float
    /// The weight of a step's statistics in the running ones; nil averages over all steps so far.
    package let momentum: Float?
    package let isAffine: Bool
    /// Normalises by the running statistics instead of the batch's: in evaluation, and where it is frozen.
    package let usesRunningStatistics: Bool
    /// Statistics over all ranks.
    package let isSynchronised: Bool
    package private(set) var appliesReLU = false
    package private(set) var hasResidual = false
    /// Whether the output is x as it was, for its only reader to normalise.
    private(set) var isDeferred = false

    package init(
        epsilon: Float, momentum: Float?, isAffine: Bool, usesRunningStatistics: Bool, isSynchronised: Bool
    ) {
        self.epsilon = epsilon
        self.momentum = momentum
        self.isAffine = isAffine
        self.usesRunningStatistics = usesRunningStatistics
        self.isSynchronised = isSynchronised
    }

    package var name: String { "batchNorm" }
    package var backwardReads: BackwardReads {
        let reads: BackwardReads = usesRunningStatistics ? [] : .inputs
        // Without a residual the input tells where ReLU let it pass.
        return appliesReLU && (usesRunningStatistics || hasResidual) ? reads.union(.output) : reads
    }
    package var worksInPlace: Bool { usesRunningStatistics || isDeferred }
    package var changesElements: Bool { !isDeferred }
    package var gradientWorksInPlace: Bool { true }
    package var writesStridedPixels: Bool { true }
    package func readsStridedPixels(input number: Int) -> Bool { number == 0 }

    package func fused(with activation: Activation) -> (any Operation)? {
        guard activation == .relu, !appliesReLU else { return nil }
        var fused = self
        fused.appliesReLU = true
        return fused
    }

    package func fusedWithResidual() -> (any Operation)? {
        guard !hasResidual, !appliesReLU else { return nil }
        var fused = self
        fused.hasResidual = true
        return fused
    }

    var use: BatchNormUse {
        BatchNormUse(
            operation: self, firstParameter: 0, appliesReLU: appliesReLU, hasResidual: hasResidual,
            isDeferred: isDeferred)
    }
    package var measuredBatchNorm: BatchNormUse? { usesRunningStatistics ? nil : use }

    func deferred() -> (any Operation)? {
        guard !usesRunningStatistics, !hasResidual else { return nil }
        var deferred = self
        deferred.isDeferred = true
        return deferred
    }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        guard inputs[0].rank >= 1 else { throw ShapeMismatch("batch normalisation cannot read \(inputs[0])") }
        guard epsilon > 0 else { throw ShapeMismatch("batch normalisation needs a positive epsilon, not \(epsilon)") }
        guard momentum.map({ $0 >= 0 && $0 <= 1 }) ?? true else {
            throw ShapeMismatch("the momentum of batch normalisation lies in 0 ... 1, not at \(momentum!)")
        }
        return inputs[0]
    }

    /// Where the running statistics stand among the node's parameters: mean, variance, counter.
    var firstBuffer: Int { isAffine ? 2 : 0 }

    package func stepStatistics(_ inputs: [Shape]) -> Int {
        usesRunningStatistics ? 0 : BatchNormStatistics.count(channels: inputs[0].dimensions.last!)
    }

    package func storedElements(_ extents: Extents) -> StoredElements { .alike }
    package func memory(_ extents: Extents) -> MemoryNeed {
        MemoryNeed(saved: BatchNormMemory(channels: extents.output.dimensions.last!, threads: extents.threads).count)
    }
    package func kernel(_ site: Site) -> any Kernel { BatchNormKernel(self, site) }
}

/// What a batch-norm tells about a step's samples: count, Σ x and Σ x² of each channel, in double, about zero, so that
/// shards and ranks add up to the statistics of the global batch.
struct BatchNormStatistics {
    static func count(channels: Int) -> Int { 1 + 2 * channels }

    let base: UnsafeMutablePointer<Double>
    let channels: Int

    var samples: Double {
        get { base[0] }
        nonmutating set { base[0] = newValue }
    }
    var sums: UnsafeMutablePointer<Double> { base + 1 }
    var squares: UnsafeMutablePointer<Double> { base + 1 + channels }

    func mean(_ channel: Int) -> Double { sums[channel] / samples }
    /// Σ (x − mean)².
    func centredSquares(_ channel: Int) -> Double {
        max(0, squares[channel] - sums[channel] * sums[channel] / samples)
    }

    /// Moves running statistics towards those of the step (PyTorch's rule: the unbiased variance is kept).
    func update(
        _ momentum: Float?, mean runningMean: UnsafeMutablePointer<Float>, variance: UnsafeMutablePointer<Float>,
        counter: UnsafeMutablePointer<Int64>
    ) {
        counter.pointee += 1
        let share = momentum.map(Double.init) ?? 1 / Double(counter.pointee)
        for channel in 0..<channels {
            let unbiased = centredSquares(channel) / max(samples - 1, 1)
            runningMean[channel] = Float(Double(runningMean[channel]) * (1 - share) + mean(channel) * share)
            variance[channel] = Float(Double(variance[channel]) * (1 - share) + unbiased * share)
        }
    }
}
