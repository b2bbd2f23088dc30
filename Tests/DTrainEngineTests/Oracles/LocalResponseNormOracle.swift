import Foundation

/// Local response normalisation over the last extent (the channels), as PyTorch does it:
/// y[c] = x[c] / (k + alpha / size · Σ x[c']²)^beta, the sum over c − size/2 ≤ c' ≤ c + (size − 1)/2.
struct LocalResponseNormOracle {
    var size: Int
    var alpha = 1e-4
    var beta = 0.75
    var k = 1.0

    func forward(_ x: ReferenceTensor) -> ReferenceTensor {
        ReferenceTensor(x.shape, x.values.indices.map { x.values[$0] * pow(denominator(x, $0), -beta) })
    }

    func gradient(_ x: ReferenceTensor, outputGradient: ReferenceTensor) -> ReferenceTensor {
        var dx = ReferenceTensor(x.shape)
        for index in x.values.indices {
            let (d, dy) = (denominator(x, index), outputGradient.values[index])
            dx.values[index] += dy * pow(d, -beta)
            for other in neighbours(x, index) {
                dx.values[other] -=
                    dy * x.values[index] * beta * pow(d, -beta - 1) * alpha / Double(size) * 2 * x.values[other]
            }
        }
        return dx
    }

    private func denominator(_ x: ReferenceTensor, _ index: Int) -> Double {
        k + alpha / Double(size) * neighbours(x, index).reduce(0) { $0 + x.values[$1] * x.values[$1] }
    }

    private func neighbours(_ x: ReferenceTensor, _ index: Int) -> [Int] {
        let channels = x.shape.last!
        let c = index % channels
        return (c - size / 2...c + (size - 1) / 2).filter { (0..<channels).contains($0) }.map { index - c + $0 }
    }
}
