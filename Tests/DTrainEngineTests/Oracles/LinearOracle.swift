/// y = x · weightᵀ + bias for x [N, I], weight [O, I] and bias [O].
enum LinearOracle {
    static func forward(_ x: ReferenceTensor, weight: ReferenceTensor, bias: ReferenceTensor?) -> ReferenceTensor {
        var y = ReferenceTensor([x.shape[0], weight.shape[0]])
        for n in 0..<x.shape[0] {
            for o in 0..<weight.shape[0] {
                var sum = bias?.values[o] ?? 0
                for i in 0..<x.shape[1] { sum += x[n, i] * weight[o, i] }
                y[n, o] = sum
            }
        }
        return y
    }

    /// The gradients of Σ y · `outputGradient`.
    static func gradients(_ x: ReferenceTensor, weight: ReferenceTensor, outputGradient: ReferenceTensor)
        -> (x: ReferenceTensor, weight: ReferenceTensor, bias: ReferenceTensor)
    {
        var dx = ReferenceTensor(x.shape)
        var dWeight = ReferenceTensor(weight.shape)
        var dBias = ReferenceTensor([weight.shape[0]])
        for n in 0..<x.shape[0] {
            for o in 0..<weight.shape[0] {
                let gradient = outputGradient[n, o]
                dBias.values[o] += gradient
                for i in 0..<x.shape[1] {
                    dx[n, i] += gradient * weight[o, i]
                    dWeight[o, i] += gradient * x[n, i]
                }
            }
        }
        return (dx, dWeight, dBias)
    }
}
