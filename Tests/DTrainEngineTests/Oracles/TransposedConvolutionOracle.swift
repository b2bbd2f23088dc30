/// The textbook transposed convolution of images [N, H, W, C] with weights [C, O / groups, kh, kw], as in PyTorch: every
/// input pixel is stamped into the output,
///
///     y[n, p·sh − ph + i·dh, q·sw − pw + j·dw, o] += x[n, p, q, c] · weight[c, o, i, j]
///
/// for the outputs o of c's group, on top of the bias; what falls outside the output is lost. The output has
/// (H − 1)·sh − 2·ph + dh·(kh − 1) + output padding + 1 rows, and columns likewise.
struct TransposedConvolutionOracle {
    var stride = (height: 1, width: 1)
    var padding = (height: 0, width: 0)
    var outputPadding = (height: 0, width: 0)
    var dilation = (height: 1, width: 1)
    var groups = 1

    func forward(_ x: ReferenceTensor, weight: ReferenceTensor, bias: ReferenceTensor?) -> ReferenceTensor {
        var y = ReferenceTensor(outputShape(x, weight))
        if let bias { for index in y.values.indices { y.values[index] = bias.values[index % y.shape[3]] } }
        forEachProduct(x, weight) { y.values[$2] += x.values[$0] * weight.values[$1] }
        return y
    }

    /// The gradients of Σ y · `outputGradient`.
    func gradients(_ x: ReferenceTensor, weight: ReferenceTensor, outputGradient: ReferenceTensor)
        -> (x: ReferenceTensor, weight: ReferenceTensor, bias: ReferenceTensor)
    {
        var (dx, dWeight) = (ReferenceTensor(x.shape), ReferenceTensor(weight.shape))
        var dBias = ReferenceTensor([weight.shape[1] * groups])
        forEachProduct(x, weight) {
            dx.values[$0] += outputGradient.values[$2] * weight.values[$1]
            dWeight.values[$1] += outputGradient.values[$2] * x.values[$0]
        }
        for (index, value) in outputGradient.values.enumerated() { dBias.values[index % dBias.values.count] += value }
        return (dx, dWeight, dBias)
    }

    func outputShape(_ x: ReferenceTensor, _ weight: ReferenceTensor) -> [Int] {
        [
            x.shape[0],
            (x.shape[1] - 1) * stride.height - 2 * padding.height + dilation.height * (weight.shape[2] - 1)
                + outputPadding.height + 1,
            (x.shape[2] - 1) * stride.width - 2 * padding.width + dilation.width * (weight.shape[3] - 1)
                + outputPadding.width + 1, weight.shape[1] * groups,
        ]
    }

    /// Calls `body` with the flat indices of x, weight and y for every product.
    private func forEachProduct(_ x: ReferenceTensor, _ weight: ReferenceTensor, _ body: (Int, Int, Int) -> Void) {
        let y = outputShape(x, weight)
        let (channels, perGroup) = (x.shape[3], weight.shape[1])
        for index in x.values.indices {
            let (c, q) = (index % channels, index / channels % x.shape[2])
            let (p, n) = (index / channels / x.shape[2] % x.shape[1], index / channels / x.shape[2] / x.shape[1])
            for i in 0..<weight.shape[2] {
                let row = p * stride.height - padding.height + i * dilation.height
                guard (0..<y[1]).contains(row) else { continue }
                for j in 0..<weight.shape[3] {
                    let column = q * stride.width - padding.width + j * dilation.width
                    guard (0..<y[2]).contains(column) else { continue }
                    for o in 0..<perGroup {
                        body(
                            index, ((c * perGroup + o) * weight.shape[2] + i) * weight.shape[3] + j,
                            ((n * y[1] + row) * y[2] + column) * y[3] + c / (channels / groups) * perGroup + o)
                    }
                }
            }
        }
    }
}
