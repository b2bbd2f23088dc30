internal import CKernels
package import DTrainTensor

/// A function applied to every element. Each has a derivative that follows from its output alone.
public enum Activation: Hashable, Sendable {
    case identity
    /// max(0, x)
    case relu
    case tanh
    /// 1 / (1 + e⁻ˣ)
    case sigmoid
    /// x above zero, slope · x below; the slope is positive.
    case leakyReLU(slope: Float)

    var kind: dt_activation {
        switch self {
        case .identity: DT_IDENTITY
        case .relu: DT_RELU
        case .tanh: DT_TANH
        case .sigmoid: DT_SIGMOID
        case .leakyReLU: DT_LEAKY_RELU
        }
    }

    var slope: Float { if case .leakyReLU(let slope) = self { slope } else { 0 } }

    var name: String {
        switch self {
        case .identity: "identity"
        case .relu: "relu"
        case .tanh: "tanh"
        case .sigmoid: "sigmoid"
        case .leakyReLU: "leakyReLU"
        }
    }
}

/// y = f(x), element by element.
package struct ActivationOperation: Operation {
    package let activation: Activation

    package init(_ activation: Activation) { self.activation = activation }

    package var name: String { activation.name }
    package var sequences: SequenceUse { .rowwise }
    package var flattenedInput: FlattenedInput { .kept }
    package var backwardReads: BackwardReads { .output }
    package var worksInPlace: Bool { true }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        if case .leakyReLU(let slope) = activation, !(slope > 0) {
            throw ShapeMismatch("leaky ReLU needs a positive slope, not \(slope)")
        }
        return inputs[0]
    }
    package func kernel(_ site: Site) -> any Kernel { ActivationKernel(activation: activation, site: site) }
}

private final class ActivationKernel: Kernel {
    let activation: Activation
    let site: Site

    init(activation: Activation, site: Site) {
        self.activation = activation
        self.site = site
    }

    func forward(_ run: Run) {
        let (x, y) = (run.pointer(site.inputs[0]), run.pointer(site.output))
        let part = run.part(of: run.rows(site.output) * site.output.shape.count, granularity: 1024)
        dt_activation_forward(x + part.lowerBound, y + part.lowerBound, part.count, activation.kind, activation.slope)
    }

    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        let (y, dy, dx) = (run.pointer(site.output), run.pointer(site.outputGradient!), run.pointer(gradient.place))
        let part = run.part(of: run.rows(site.output) * site.output.shape.count, granularity: 1024)
        let offset = part.lowerBound
        dt_activation_backward(
            y + offset, dy + offset, dx + offset, part.count, activation.kind, activation.slope,
            gradient.accumulate ? 1 : 0)
    }
}
