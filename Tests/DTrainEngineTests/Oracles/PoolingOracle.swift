/// Pooling of images [N, H, W, C] over windows, as PyTorch does it.
///
/// The output has ⌊(H + 2·ph − kh) / sh⌋ + 1 rows, and columns likewise; in ceil mode the quotient is rounded up, but the last
/// window must begin in the image or the padding before it. The maximum ignores padding (it counts as −∞) and the first of
/// several equal values gets the gradient; the average divides by the positions of the window in the padded image or, where
/// padding does not count, in the image.
struct PoolingOracle {
    var kernel: (height: Int, width: Int)
    var stride: (height: Int, width: Int)
    var padding = (height: 0, width: 0)
    var ceilMode = false
    var countsPadding = true

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
        let divisors = divisors(x)
        forEachWindow(x) { index, members in
            for member in members { y.values[index] += x.values[member] / divisors[index] }
        }
        return y
    }

    func averageGradient(_ x: ReferenceTensor, outputGradient: ReferenceTensor) -> ReferenceTensor {
        var dx = ReferenceTensor(x.shape)
        let divisors = divisors(x)
        forEachWindow(x) { index, members in
            for member in members { dx.values[member] += outputGradient.values[index] / divisors[index] }
        }
        return dx
    }

    func outputShape(_ x: ReferenceTensor) -> [Int] {
        func extent(_ size: Int, _ kernel: Int, _ stride: Int, _ padding: Int) -> Int {
            // As many windows as begin early enough, counted one by one.
            var count = 0
            while true {
                let start = count * stride - padding
                let fits = start + kernel <= size + padding
                let reaches = ceilMode && start < size && start - stride + kernel < size + padding
                guard fits || reaches else { return count }
                count += 1
            }
        }
        return [
            x.shape[0], extent(x.shape[1], kernel.height, stride.height, padding.height),
            extent(x.shape[2], kernel.width, stride.width, padding.width), x.shape[3],
        ]
    }

    /// What the sum of each window is divided by.
    private func divisors(_ x: ReferenceTensor) -> [Double] {
        let y = outputShape(x)
        func positions(_ output: Int, _ size: Int, _ kernel: Int, _ stride: Int, _ padding: Int) -> Int {
            let allowed = countsPadding ? -padding..<size + padding : 0..<size
            return (0..<kernel).count { allowed.contains(output * stride - padding + $0) }
        }
        return (0..<y.reduce(1, *)).map { index in
            let (p, q) = (index / y[3] / y[2] % y[1], index / y[3] % y[2])
            return Double(
                positions(p, x.shape[1], kernel.height, stride.height, padding.height)
                    * positions(q, x.shape[2], kernel.width, stride.width, padding.width))
        }
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
