/// Batch normalisation of x [N, …, C], per channel over all other extents, in double.
struct BatchNormOracle {
    var epsilon = 1e-5

    struct Statistics {
        var mean: [Double]
        /// Biased.
        var variance: [Double]
        var count: Double

        /// PyTorch's rule: the running variance takes the unbiased one.
        func moved(_ momentum: Double, mean old: [Double], variance oldVariance: [Double]) -> (
            mean: [Double], variance: [Double]
        ) {
            (
                zip(old, mean).map { $0 + momentum * ($1 - $0) },
                zip(oldVariance, variance).map { $0 + momentum * ($1 * count / (count - 1) - $0) }
            )
        }
    }

    func statistics(_ x: ReferenceTensor) -> Statistics {
        let channels = x.shape.last!
        let count = Double(x.values.count / channels)
        var mean = [Double](repeating: 0, count: channels)
        var variance = mean
        for (index, value) in x.values.enumerated() { mean[index % channels] += value / count }
        for (index, value) in x.values.enumerated() {
            let difference = value - mean[index % channels]
            variance[index % channels] += difference * difference / count
        }
        return Statistics(mean: mean, variance: variance, count: count)
    }

    func forward(
        _ x: ReferenceTensor, _ statistics: Statistics, weight: ReferenceTensor?, bias: ReferenceTensor?
    ) -> ReferenceTensor {
        var y = normalised(x, statistics)
        for index in y.values.indices {
            let channel = index % x.shape.last!
            y.values[index] = y.values[index] * (weight?.values[channel] ?? 1) + (bias?.values[channel] ?? 0)
        }
        return y
    }

    private func normalised(_ x: ReferenceTensor, _ statistics: Statistics) -> ReferenceTensor {
        var y = x
        for index in y.values.indices {
            let channel = index % x.shape.last!
            y.values[index] =
                (x.values[index] - statistics.mean[channel]) / (statistics.variance[channel] + epsilon).squareRoot()
        }
        return y
    }

    /// With statistics of `x` itself, or constant ones.
    func gradients(
        _ x: ReferenceTensor, _ statistics: Statistics, isConstant: Bool, weight: ReferenceTensor?,
        outputGradient dy: ReferenceTensor
    ) -> (x: ReferenceTensor, weight: ReferenceTensor, bias: ReferenceTensor) {
        let channels = x.shape.last!
        let normalised = normalised(x, statistics)
        var (dWeight, dBias) = (ReferenceTensor([channels]), ReferenceTensor([channels]))
        for (index, gradient) in dy.values.enumerated() {
            dWeight.values[index % channels] += gradient * normalised.values[index]
            dBias.values[index % channels] += gradient
        }
        var dx = dy
        for index in dx.values.indices {
            let channel = index % channels
            let scale =
                (weight?.values[channel] ?? 1) / (statistics.variance[channel] + epsilon).squareRoot()
            let mean = isConstant ? 0 : dBias.values[channel] / statistics.count
            let slope = isConstant ? 0 : dWeight.values[channel] / statistics.count
            dx.values[index] = scale * (dy.values[index] - mean - normalised.values[index] * slope)
        }
        return (dx, dWeight, dBias)
    }
}
