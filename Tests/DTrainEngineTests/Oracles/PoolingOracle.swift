/// Pooling of images [N, H, W, C] over windows, as PyTorch does it.
///
/// The output has ⌊(H + 2·ph − kh) / sh⌋ + 1 rows, and columns likewise. The maximum ignores padding (it counts as −∞) and
/// the first of several equal values gets the gradient; the average divides by the whole window, padding included.
struct PoolingOracle {
    var kernel: (height: Int, width: Int)
    var stride: (height: Int, width: Int)
    var padding = (height: 0, width: 0)

    func maximum(_ x: ReferenceTensor) -> ReferenceTensor {
        let winners = argmax(x)
        return ReferenceTensor(outputShape(x), winners.map { x.values[$0] })
    }

    func maximumGradient(_ x: ReferenceTensor, outputGradient: ReferenceTensor) -> ReferenceTensor {
        var dx = ReferenceTensor(x.shape)
        for (index, winner) in argmax(x).enumerated() { dx.values[winner] += outputGradient.values[index] }
        return dx
    }

    func average(_ x: ReferenceTensor) -> ReferenceTensor {
        var y = ReferenceTensor(outputShape(x))
        forEachWindow(x) { index, members in
            for member in members { y.values[index] += x.values[member] / Double(kernel.height * kernel.width) }
        }
        return y
    }

    func averageGradient(_ x: ReferenceTensor, outputGradient: ReferenceTensor) -> ReferenceTensor {
        var dx = ReferenceTensor(x.shape)
        forEachWindow(x) { index, members in
            for member in members {
                dx.values[member] += outputGradient.values[index] / Double(kernel.height * kernel.width)
            }
        }
        return dx
    }

    func outputShape(_ x: ReferenceTensor) -> [Int] {
        [
            x.shape[0], (x.shape[1] + 2 * padding.height - kernel.height) / stride.height + 1,
            (x.shape[2] + 2 * padding.width - kernel.width) / stride.width + 1, x.shape[3],
        ]
    }

    /// The flat index in x of each output's first largest input.
    private func argmax(_ x: ReferenceTensor) -> [Int] {
        var winners: [Int] = []
        forEachWindow(x) { _, members in
            var winner = members[0]
            for member in members where x.values[member] > x.values[winner] { winner = member }
            winners.append(winner)
        }
        return winners
    }

    /// Calls `body` with each output's flat index and those of the inputs in its window, row by row.
    private func forEachWindow(_ x: ReferenceTensor, _ body: (Int, [Int]) -> Void) {
        let (height, width, channels) = (x.shape[1], x.shape[2], x.shape[3])
        let y = outputShape(x)
        var index = 0
        for n in 0..<y[0] {
            for p in 0..<y[1] {
                for q in 0..<y[2] {
                    for c in 0..<channels {
                        var members: [Int] = []
                        for i in 0..<kernel.height {
                            let row = p * stride.height - padding.height + i
                            guard row >= 0 && row < height else { continue }
                            for j in 0..<kernel.width {
                                let column = q * stride.width - padding.width + j
                                guard column >= 0 && column < width else { continue }
                                members.append(((n * height + row) * width + column) * channels + c)
                            }
                        }
                        body(index, members)
                        index += 1
                    }
                }
            }
        }
    }
}
