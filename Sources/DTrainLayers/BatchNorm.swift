internal import DTrainTensor

/// Batch normalisation of an image's channels (PyTorch's BatchNorm2d; Ioffe and Szegedy 2015).
///
/// y = (x − mean) / √(variance + epsilon) · weight + bias, per channel; mean and biased variance over samples and pixels
/// of the shard in training (over those of all ranks with `--sync-batchnorm`), running statistics in evaluation.
///
/// Input and output height × width × channels. Parameters: `weight` (ones) and `bias` (zeros), one a channel. Buffers:
/// `running_mean` (zeros), `running_var` (ones) and `num_batches_tracked`. After each step the running statistics move
/// by `momentum` towards those of the whole global batch (unbiased variance), so they are equal on all ranks. Where
/// weight and bias are frozen, the running statistics are used and left alone in training too.
public final class BatchNorm2d: Module {
    let settings: BatchNormSettings

    /// - Parameters:
    ///   - epsilon: added to the variance; positive.
    ///   - momentum: the share of a step's statistics in the running ones; nil averages over all steps.
    ///   - affine: whether there are a weight and a bias.
    public init(epsilon: Float = 1e-5, momentum: Float? = 0.1, affine: Bool = true) {
        settings = BatchNormSettings(epsilon: epsilon, momentum: momentum, affine: affine)
    }

    public func callAsFunction(_ x: Value) -> Value {
        guard x.shape.rank == 3 else {
            x.fail(self, "BatchNorm2d needs an image (height × width × channels), but its input is \(x.shape)")
            return x
        }
        return normalise(x, self, settings)
    }
}

/// Batch normalisation of features, or of a sequence's channels (PyTorch's BatchNorm1d); otherwise as `BatchNorm2d`.
///
/// Input and output a count of features, or length × channels.
public final class BatchNorm1d: Module {
    let settings: BatchNormSettings

    /// As `BatchNorm2d`'s.
    public init(epsilon: Float = 1e-5, momentum: Float? = 0.1, affine: Bool = true) {
        settings = BatchNormSettings(epsilon: epsilon, momentum: momentum, affine: affine)
    }

    public func callAsFunction(_ x: Value) -> Value {
        guard x.shape.rank == 1 || x.shape.rank == 2 else {
            x.fail(self, "BatchNorm1d needs features or a sequence (length × channels), but its input is \(x.shape)")
            return x
        }
        return normalise(x, self, settings)
    }
}

struct BatchNormSettings {
    let epsilon: Float
    let momentum: Float?
    let affine: Bool
}

private func normalise(_ x: Value, _ layer: any Module, _ settings: BatchNormSettings) -> Value {
    let channels: Shape = [x.shape.dimensions.last!]
    let isFrozen = settings.affine && x.areFrozen(["weight", "bias"], of: layer)
    let operation = BatchNorm(
        epsilon: settings.epsilon, momentum: settings.momentum, isAffine: settings.affine,
        usesRunningStatistics: x.mode == .evaluation || isFrozen, isSynchronised: x.synchronisesBatchNorm)
    return x.applying(
        operation, layer: layer,
        parameters: settings.affine
            ? [("weight", channels, .plain, .constant(1)), ("bias", channels, .plain, .constant(0))] : [],
        buffers: [
            ("running_mean", channels, .float32, 0), ("running_var", channels, .float32, 1),
            ("num_batches_tracked", [], .int64, 0),
        ])
}
