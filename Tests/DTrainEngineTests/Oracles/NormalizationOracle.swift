/// y = (x − mean) / √(variance + epsilon) · weight + bias over sets of elements of one sample, variance being biased.
struct NormalizationOracle {
    enum Extent { case channels, groups(Int), sample }
    var extent: Extent
    var epsilon = 1e-5

    /// `weight` and `bias` have one element a channel, or, where the whole sample is normalised, the sample's shape in
    /// dtrain's order.
    func forward(_ x: ReferenceTensor, weight: ReferenceTensor?, bias: ReferenceTensor?) -> ReferenceTensor {
        var y = ReferenceTensor(x.shape)
        for members in sets(x.shape) {
            let (mean, deviation) = moments(x, members)
            for index in members {
                let normalised = (x.values[index] - mean) / deviation
                y.values[index] =
                    normalised * (weight.map { $0.values[parameter(index, x.shape)] } ?? 1)
                    + (bias.map { $0.values[parameter(index, x.shape)] } ?? 0)
            }
        }
        return y
    }

    /// The gradients of Σ y · `outputGradient`: through the mean and the variance by the chain rule.
    func gradients(_ x: ReferenceTensor, weight: ReferenceTensor?, outputGradient: ReferenceTensor)
        -> (x: ReferenceTensor, weight: ReferenceTensor, bias: ReferenceTensor)
    {
        var dx = ReferenceTensor(x.shape)
        let shape: [Int]
        if case .sample = extent { shape = Array(x.shape[1...]) } else { shape = [x.shape.last!] }
        var (dWeight, dBias) = (ReferenceTensor(shape), ReferenceTensor(shape))
        for members in sets(x.shape) {
            let (mean, deviation) = moments(x, members)
            let count = Double(members.count)
            var (dDeviation, dMean) = (0.0, 0.0)
            for index in members {
                let (place, dy) = (parameter(index, x.shape), outputGradient.values[index])
                dWeight.values[place] += dy * (x.values[index] - mean) / deviation
                dBias.values[place] += dy
                let inner = dy * (weight.map { $0.values[place] } ?? 1)
                dx.values[index] += inner / deviation
                dMean -= inner / deviation
                dDeviation -= inner * (x.values[index] - mean) / (deviation * deviation)
            }
            // deviation² = Σ (x − mean)² / count + epsilon, whose derivative by the mean is zero.
            for index in members {
                dx.values[index] += dMean / count + dDeviation * (x.values[index] - mean) / (count * deviation)
            }
        }
        return (dx, dWeight, dBias)
    }

    private func moments(_ x: ReferenceTensor, _ members: [Int]) -> (mean: Double, deviation: Double) {
        let mean = members.reduce(0) { $0 + x.values[$1] } / Double(members.count)
        let squares = members.reduce(0) { $0 + (x.values[$1] - mean) * (x.values[$1] - mean) }
        return (mean, (squares / Double(members.count) + epsilon).squareRoot())
    }

    private func parameter(_ index: Int, _ shape: [Int]) -> Int {
        if case .sample = extent { index % shape[1...].reduce(1, *) } else { index % shape.last! }
    }

    /// The elements that are normalised together.
    private func sets(_ shape: [Int]) -> [[Int]] {
        let (count, sample, channels) = (shape.reduce(1, *), shape[1...].reduce(1, *), shape.last!)
        let key: (Int) -> [Int] = { index in
            switch extent {
            case .channels: [index / channels]
            case .groups(let groups): [index / sample, index % channels / (channels / groups)]
            case .sample: [index / sample]
            }
        }
        return Array(Dictionary(grouping: 0..<count, by: key).values)
    }
}
