/// Every stride-th pixel of images [N, H, W, C], with channels of zeros after the others.
struct ZeroPaddingShortcutOracle {
    var channels: Int
    var stride: Int

    func forward(_ x: ReferenceTensor) -> ReferenceTensor {
        var y = ReferenceTensor(outputShape(x))
        for n in 0..<y.shape[0] {
            for p in 0..<y.shape[1] {
                for q in 0..<y.shape[2] {
                    for c in 0..<x.shape[3] { y[n, p, q, c] = x[n, p * stride, q * stride, c] }
                }
            }
        }
        return y
    }

    func gradient(_ x: ReferenceTensor, outputGradient: ReferenceTensor) -> ReferenceTensor {
        var dx = ReferenceTensor(x.shape)
        for n in 0..<x.shape[0] {
            for row in stride(from: 0, to: x.shape[1], by: stride) {
                for column in stride(from: 0, to: x.shape[2], by: stride) {
                    for c in 0..<x.shape[3] {
                        dx[n, row, column, c] = outputGradient[n, row / stride, column / stride, c]
                    }
                }
            }
        }
        return dx
    }

    private func stride(from: Int, to: Int, by: Int) -> StrideTo<Int> { Swift.stride(from: from, to: to, by: by) }

    private func outputShape(_ x: ReferenceTensor) -> [Int] {
        [x.shape[0], (x.shape[1] - 1) / stride + 1, (x.shape[2] - 1) / stride + 1, channels]
    }
}
