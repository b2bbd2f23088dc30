import Foundation

/// Cross-entropy of softmax(x) for logits x [N, K], SUMMED over the samples. With label smoothing s the target of a
/// sample of class k is (1 − s) · onehot(k) + s / K (Szegedy et al. 2015, as PyTorch defines it).
///
/// Mixed samples have a second label each and a weight of the first.
struct CrossEntropyOracle {
    var smoothing = 0.0
    var mixing: (partners: [Int], weights: [Double])?

    func forward(_ x: ReferenceTensor, labels: [Int]) -> Double {
        var loss = 0.0
        for n in labels.indices {
            for k in 0..<x.shape[1] { loss -= target(k, n, labels, x.shape[1]) * logProbability(x, n, k) }
        }
        return loss
    }

    /// probability − target.
    func gradient(_ x: ReferenceTensor, labels: [Int]) -> ReferenceTensor {
        var dx = ReferenceTensor(x.shape)
        for n in labels.indices {
            for k in 0..<x.shape[1] { dx[n, k] = exp(logProbability(x, n, k)) - target(k, n, labels, x.shape[1]) }
        }
        return dx
    }

    private func target(_ k: Int, _ n: Int, _ labels: [Int], _ classes: Int) -> Double {
        let own = k == labels[n] ? mixing?.weights[n] ?? 1 : 0
        let partner = mixing.map { k == $0.partners[n] ? 1 - $0.weights[n] : 0 } ?? 0
        return (1 - smoothing) * (own + partner) + smoothing / Double(classes)
    }

    private func logProbability(_ x: ReferenceTensor, _ n: Int, _ k: Int) -> Double {
        let row = (0..<x.shape[1]).map { x[n, $0] }
        let largest = row.max()!
        return x[n, k] - largest - log(row.reduce(0) { $0 + exp($1 - largest) })
    }
}

/// Σ (x − target)²: PyTorch's mean squared error before it divides by the number of elements.
enum SquaredErrorOracle {
    static func forward(_ x: ReferenceTensor, target: ReferenceTensor) -> Double {
        zip(x.values, target.values).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    }

    static func gradient(_ x: ReferenceTensor, target: ReferenceTensor) -> ReferenceTensor {
        ReferenceTensor(x.shape, zip(x.values, target.values).map { 2 * ($0 - $1) })
    }
}
