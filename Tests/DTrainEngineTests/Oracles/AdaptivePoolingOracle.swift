/// Pooling of images [N, H, W, C] to a given size, as PyTorch does it: output row p sees the rows ⌊p·H / outputs⌋ up to, and
/// without, ⌈(p + 1)·H / outputs⌉, and columns likewise. The first of several equal maxima gets the gradient.
struct AdaptivePoolingOracle {
    var size: (height: Int, width: Int)

    func average(_ x: ReferenceTensor) -> ReferenceTensor {
        var y = ReferenceTensor(outputShape(x))
        forEachWindow(x) { index, members in
            y.values[index] = members.reduce(0) { $0 + x.values[$1] } / Double(members.count)
        }
        return y
    }

    func averageGradient(_ x: ReferenceTensor, outputGradient: ReferenceTensor) -> ReferenceTensor {
        var dx = ReferenceTensor(x.shape)
        forEachWindow(x) { index, members in
            for member in members { dx.values[member] += outputGradient.values[index] / Double(members.count) }
        }
        return dx
    }

    func maximum(_ x: ReferenceTensor) -> ReferenceTensor {
        ReferenceTensor(outputShape(x), winners(x).map { x.values[$0] })
    }

    func maximumGradient(_ x: ReferenceTensor, outputGradient: ReferenceTensor) -> ReferenceTensor {
        var dx = ReferenceTensor(x.shape)
        for (index, winner) in winners(x).enumerated() { dx.values[winner] += outputGradient.values[index] }
        return dx
    }

    func outputShape(_ x: ReferenceTensor) -> [Int] { [x.shape[0], size.height, size.width, x.shape[3]] }

    private func winners(_ x: ReferenceTensor) -> [Int] {
        var winners: [Int] = []
        forEachWindow(x) { _, members in
            let largest = members.map { x.values[$0] }.max()!
            winners.append(members.first { x.values[$0] == largest }!)
        }
        return winners
    }

    private func forEachWindow(_ x: ReferenceTensor, _ body: (Int, [Int]) -> Void) {
        func rows(_ output: Int, _ outputs: Int, _ extent: Int) -> Range<Int> {
            let start = (Double(output) * Double(extent) / Double(outputs)).rounded(.down)
            let end = (Double(output + 1) * Double(extent) / Double(outputs)).rounded(.up)
            return Int(start)..<Int(end)
        }
        var index = 0
        for n in 0..<x.shape[0] {
            for p in 0..<size.height {
                for q in 0..<size.width {
                    for c in 0..<x.shape[3] {
                        let members = rows(p, size.height, x.shape[1]).flatMap { row in
                            rows(q, size.width, x.shape[2]).map { column in
                                ((n * x.shape[1] + row) * x.shape[2] + column) * x.shape[3] + c
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
