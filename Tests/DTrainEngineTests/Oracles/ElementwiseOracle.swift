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
