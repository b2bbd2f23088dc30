/// The textbook convolution (cross-correlation, as in PyTorch) of images [N, H, W, C] with weights [O, C / groups, kh, kw].
///
///     y[n, p, q, o] = bias[o] + Σ x[n, p·sh − ph + i·dh, q·sw − pw + j·dw, c] · weight[o, c, i, j]
///
/// summed over i, j and the channels c of o's group; positions outside the image count as zero. The output has
/// ⌊(H + 2·ph − dh·(kh − 1) − 1) / sh⌋ + 1 rows, and columns likewise.
struct ConvolutionOracle {
    var stride = (height: 1, width: 1)
    var padding = (height: 0, width: 0)
    var dilation = (height: 1, width: 1)
    var groups = 1

    func forward(_ x: ReferenceTensor, weight: ReferenceTensor, bias: ReferenceTensor?) -> ReferenceTensor {
        var y = ReferenceTensor(outputShape(x, weight))
        for n in 0..<y.shape[0] {
            for p in 0..<y.shape[1] {
                for q in 0..<y.shape[2] {
                    for o in 0..<y.shape[3] { y[n, p, q, o] = bias?.values[o] ?? 0 }
                }
            }
        }
        forEachProduct(x, weight) { xIndex, weightIndex, yIndex in
            y.values[yIndex] += x.values[xIndex] * weight.values[weightIndex]
        }
        return y
    }

    /// The gradients of Σ y · `outputGradient`.
    func gradients(_ x: ReferenceTensor, weight: ReferenceTensor, outputGradient: ReferenceTensor)
        -> (x: ReferenceTensor, weight: ReferenceTensor, bias: ReferenceTensor)
    {
        var dx = ReferenceTensor(x.shape)
        var dWeight = ReferenceTensor(weight.shape)
        var dBias = ReferenceTensor([weight.shape[0]])
        forEachProduct(x, weight) { xIndex, weightIndex, yIndex in
            dx.values[xIndex] += outputGradient.values[yIndex] * weight.values[weightIndex]
            dWeight.values[weightIndex] += outputGradient.values[yIndex] * x.values[xIndex]
        }
        for (index, value) in outputGradient.values.enumerated() { dBias.values[index % weight.shape[0]] += value }
        return (dx, dWeight, dBias)
    }

    func outputShape(_ x: ReferenceTensor, _ weight: ReferenceTensor) -> [Int] {
        func extent(_ size: Int, _ kernel: Int, _ stride: Int, _ padding: Int, _ dilation: Int) -> Int {
            (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1
        }
        return [
            x.shape[0], extent(x.shape[1], weight.shape[2], stride.height, padding.height, dilation.height),
            extent(x.shape[2], weight.shape[3], stride.width, padding.width, dilation.width), weight.shape[0],
        ]
    }

    /// Calls `body` with the flat indices of x, weight and y for every product of the sum above.
    private func forEachProduct(_ x: ReferenceTensor, _ weight: ReferenceTensor, _ body: (Int, Int, Int) -> Void) {
        let (height, width, channels) = (x.shape[1], x.shape[2], x.shape[3])
        let (outputs, groupChannels, kernelHeight, kernelWidth) =
            (weight.shape[0], weight.shape[1], weight.shape[2], weight.shape[3])
        precondition(channels == groupChannels * groups && outputs % groups == 0)
        let y = outputShape(x, weight)
        for n in 0..<x.shape[0] {
            for p in 0..<y[1] {
                for q in 0..<y[2] {
                    for o in 0..<outputs {
                        let firstChannel = o / (outputs / groups) * groupChannels
                        for i in 0..<kernelHeight {
                            let row = p * stride.height - padding.height + i * dilation.height
                            guard row >= 0 && row < height else { continue }
                            for j in 0..<kernelWidth {
                                let column = q * stride.width - padding.width + j * dilation.width
                                guard column >= 0 && column < width else { continue }
                                for c in 0..<groupChannels {
                                    body(
                                        ((n * height + row) * width + column) * channels + firstChannel + c,
                                        ((o * groupChannels + c) * kernelHeight + i) * kernelWidth + j,
                                        ((n * y[1] + p) * y[2] + q) * outputs + o)
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The convolution of sequences [N, T, C] with weights [O, C / groups, k]: that of images one row high.
struct SequenceConvolutionOracle {
    let image: ConvolutionOracle

    init(stride: Int = 1, padding: Int = 0, dilation: Int = 1, groups: Int = 1) {
        image = ConvolutionOracle(stride: (1, stride), padding: (0, padding), dilation: (1, dilation), groups: groups)
    }

    private func asImage(_ x: ReferenceTensor) -> ReferenceTensor { x.reshaped([x.shape[0], 1] + x.shape[1...]) }
    private func asKernel(_ w: ReferenceTensor) -> ReferenceTensor { w.reshaped([w.shape[0], w.shape[1], 1, w.shape[2]]) }

    func forward(_ x: ReferenceTensor, weight: ReferenceTensor, bias: ReferenceTensor?) -> ReferenceTensor {
        let y = image.forward(asImage(x), weight: asKernel(weight), bias: bias)
        return y.reshaped([y.shape[0], y.shape[2], y.shape[3]])
    }

    func gradients(_ x: ReferenceTensor, weight: ReferenceTensor, outputGradient: ReferenceTensor)
        -> (x: ReferenceTensor, weight: ReferenceTensor, bias: ReferenceTensor)
    {
        let result = image.gradients(asImage(x), weight: asKernel(weight), outputGradient: asImage(outputGradient))
        return (result.x.reshaped(x.shape), result.weight.reshaped(weight.shape), result.bias)
    }
}
