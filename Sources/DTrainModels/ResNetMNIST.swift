public import DTrainLayers

/// The residual blocks that "Identity Mappings in Deep Residual Networks" (He et al. 2016) compares; the raw value names one
/// on the command line.
public enum ResidualUnit: String, CaseIterable, Sendable {
    // Figure 4: where normalisation and activation stand.
    case original
    case batchNormAfterAddition = "batch-norm-after-addition"
    case reluBeforeAddition = "relu-before-addition"
    case reluOnlyPreActivation = "relu-only-pre-activation"
    case fullPreActivation = "full-pre-activation"
    // Figure 2: what stands on the shortcut of the original block.
    case constantScaling = "constant-scaling"
    case exclusiveGating = "exclusive-gating"
    case shortcutOnlyGating = "shortcut-only-gating"
    case convolutionShortcut = "convolution-shortcut"
    case dropoutShortcut = "dropout-shortcut"

    fileprivate func block(_ channels: Int, dropout: Float) -> any Module {
        switch self {
        case .original: OriginalBlock(channels) { x, residual in x + residual }
        case .constantScaling: OriginalBlock(channels) { x, residual in 0.5 * x + 0.5 * residual }
        case .batchNormAfterAddition: BatchNormAfterAddition(channels)
        case .reluBeforeAddition: ReLUBeforeAddition(channels)
        case .reluOnlyPreActivation: ReLUOnlyPreActivation(channels)
        case .fullPreActivation: FullPreActivation(channels)
        case .exclusiveGating: GatedBlock(channels, scalesResidual: true)
        case .shortcutOnlyGating: GatedBlock(channels, scalesResidual: false)
        case .convolutionShortcut: ConvolutionShortcut(channels)
        case .dropoutShortcut: DropoutShortcut(channels, dropout: dropout)
        }
    }
}

/// A residual network for digits: two convolutions, each followed by pooling and a residual block, and a linear layer.
public final class ResNetMNIST: Module {
    let conv1 = Conv2d(16, kernel: 5)
    let conv2 = Conv2d(32, kernel: 5)
    let rblock1, rblock2: any Module
    let fc: Linear?

    /// - Parameters:
    ///   - unit: which residual block.
    ///   - classes: nil leaves the last layer out: 512 features of a 28×28 image.
    ///   - dropout: on the shortcut of `dropoutShortcut`.
    public init(_ unit: ResidualUnit = .original, classes: Int? = 10, dropout: Float = 0.5) {
        rblock1 = unit.block(16, dropout: dropout)
        rblock2 = unit.block(32, dropout: dropout)
        fc = classes.map { Linear($0) }
    }

    public func callAsFunction(_ x: Value) -> Value {
        let h1 = rblock1(maxPool(relu(conv1(x)), kernel: 2))
        let h2 = rblock2(maxPool(relu(conv2(h1)), kernel: 2))
        let h = flatten(h2)
        return fc?(h) ?? h
    }
}

/// What all blocks have: two 3×3 convolutions and two normalisations.
private class ResidualBlock {
    let conv1, conv2: Conv2d
    let bn1 = BatchNorm2d(), bn2 = BatchNorm2d()

    init(_ channels: Int) {
        conv1 = convolution(channels, kernel: 3)
        conv2 = convolution(channels, kernel: 3)
    }

    /// Convolution, normalisation, ReLU, convolution, normalisation: F of figure 2.
    func residual(_ x: Value) -> Value { bn2(conv2(relu(bn1(conv1(x))))) }
}

/// Figure 4a and, with another sum, figure 2b: ReLU after the addition.
private final class OriginalBlock: ResidualBlock, Module {
    private let sum: (Value, Value) -> Value

    init(_ channels: Int, sum: @escaping (_ x: Value, _ residual: Value) -> Value) {
        self.sum = sum
        super.init(channels)
    }

    func callAsFunction(_ x: Value) -> Value { relu(sum(x, residual(x))) }
}

/// Figure 4b: the second normalisation stands on the path of the shortcut too.
private final class BatchNormAfterAddition: ResidualBlock, Module {
    func callAsFunction(_ x: Value) -> Value { relu(bn2(x + conv2(relu(bn1(conv1(x)))))) }
}

/// Figure 4c: what is added is never negative.
private final class ReLUBeforeAddition: ResidualBlock, Module {
    func callAsFunction(_ x: Value) -> Value { x + relu(residual(x)) }
}

/// Figure 4d: the activations come first, the normalisations stay behind the convolutions.
private final class ReLUOnlyPreActivation: ResidualBlock, Module {
    func callAsFunction(_ x: Value) -> Value { x + bn2(conv2(relu(bn1(conv1(relu(x)))))) }
}

/// Figure 4e: nothing but the addition stands on the shortcut.
private final class FullPreActivation: ResidualBlock, Module {
    func callAsFunction(_ x: Value) -> Value { x + conv2(relu(bn2(conv1(relu(bn1(x)))))) }
}

/// Figure 2c and 2d: a gate g = σ(1×1 convolution of x) weighs the residual by g, or not, and the shortcut by 1 − g. Its bias
/// starts at −6, the best that the paper found (table 1): nearly closed.
private final class GatedBlock: ResidualBlock, Module {
    let gate: Conv2d
    private let scalesResidual: Bool

    init(_ channels: Int, scalesResidual: Bool) {
        gate = Conv2d(channels, kernel: 1, biasInitializer: .constant(-6))
        self.scalesResidual = scalesResidual
        super.init(channels)
    }

    func callAsFunction(_ x: Value) -> Value {
        let g = sigmoid(gate(x))
        let residual = residual(x)
        return relu((1 - g) * x + (scalesResidual ? g * residual : residual))
    }
}

/// Figure 2e: a 1×1 convolution on the shortcut.
private final class ConvolutionShortcut: ResidualBlock, Module {
    let shortcut: Conv2d

    override init(_ channels: Int) {
        shortcut = convolution(channels, kernel: 1)
        super.init(channels)
    }

    func callAsFunction(_ x: Value) -> Value { relu(shortcut(x) + residual(x)) }
}

/// Figure 2f: dropout on the shortcut.
private final class DropoutShortcut: ResidualBlock, Module {
    let dropout: Dropout

    init(_ channels: Int, dropout: Float) {
        self.dropout = Dropout(dropout)
        super.init(channels)
    }

    func callAsFunction(_ x: Value) -> Value { relu(dropout(x) + residual(x)) }
}
