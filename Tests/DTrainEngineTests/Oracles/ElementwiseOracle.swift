import Foundation

/// A function of one element and its derivative.
struct ElementwiseOracle: Sendable {
    let function: @Sendable (Double) -> Double
    /// The derivative at x. Where there is none (ReLU at 0), PyTorch's choice.
    let derivative: @Sendable (Double) -> Double

    func forward(_ x: ReferenceTensor) -> ReferenceTensor { x.map(function) }
    func gradient(_ x: ReferenceTensor, outputGradient: ReferenceTensor) -> ReferenceTensor {
        x.map(derivative) * outputGradient
    }

    /// max(x, 0); derivative 0 at 0.
    static let relu = leakyReLU(slope: 0)
    /// x above 0, else slope · x; derivative `slope` at 0.
    static func leakyReLU(slope: Double) -> ElementwiseOracle {
        ElementwiseOracle(function: { $0 > 0 ? $0 : slope * $0 }, derivative: { $0 > 0 ? 1 : slope })
    }
    static let tanh = ElementwiseOracle(
        function: { Foundation.tanh($0) }, derivative: { 1 - Foundation.tanh($0) * Foundation.tanh($0) })
    /// 1 / (1 + e⁻ˣ).
    static let sigmoid = ElementwiseOracle(
        function: { 1 / (1 + exp(-$0)) },
        derivative: {
            let y = 1 / (1 + exp(-$0))
            return y * (1 - y)
        })
}

/// Inverted dropout with a given mask of zeros and ones: y = x · mask / (1 − probability).
struct DropoutOracle {
    let probability: Double
    let mask: ReferenceTensor

    func forward(_ x: ReferenceTensor) -> ReferenceTensor { (x * mask).map { $0 / (1 - probability) } }
    func gradient(outputGradient: ReferenceTensor) -> ReferenceTensor { forward(outputGradient) }
}

/// e^x / Σ e^x over the last extent.
enum SoftmaxOracle {
    static func forward(_ x: ReferenceTensor) -> ReferenceTensor {
        var y = x
        forEachRow(x) { row in
            let largest = row.map { x.values[$0] }.max()!
            let sum = row.reduce(0) { $0 + exp(x.values[$1] - largest) }
            for index in row { y.values[index] = exp(x.values[index] - largest) / sum }
        }
        return y
    }

    /// Σ over j of dy[j] · y[j] · (1 if i = j, else 0, minus y[i]).
    static func gradient(_ x: ReferenceTensor, outputGradient: ReferenceTensor) -> ReferenceTensor {
        let y = forward(x)
        var dx = ReferenceTensor(x.shape)
        forEachRow(x) { row in
            for i in row {
                for j in row {
                    dx.values[i] += outputGradient.values[j] * y.values[j] * ((i == j ? 1 : 0) - y.values[i])
                }
            }
        }
        return dx
    }

    private static func forEachRow(_ x: ReferenceTensor, _ body: (Range<Int>) -> Void) {
        let count = x.shape.last!
        for first in stride(from: 0, to: x.values.count, by: count) { body(first..<first + count) }
    }
}
