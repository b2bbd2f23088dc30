public import DTrainLayers

/// Convolution without bias, batch normalisation, ReLU.
package final class BasicConv2d: Module {
    let conv: Conv2d
    let bn = BatchNorm2d(epsilon: 0.001)

    package init(_ channels: Int, kernel: Pair, stride: Pair = 1, padding: Pair = 0) {
        conv = Conv2d(
            channels, kernel: kernel, stride: stride, padding: padding, bias: false, initializer: googLeNetWeight)
    }

    package func callAsFunction(_ x: Value) -> Value { relu(bn(conv(x))) }
}

/// Four views of the same image side by side (Szegedy et al. 2014, figure 2b). Where the paper has 5×5, torchvision has, and
/// its weights need, 3×3.
package final class Inception: Module {
    let branch1: BasicConv2d
    let branch2, branch3, branch4: Sequential

    /// The columns of table 1 in the paper: channels of the 1×1, of the 3×3 and 5×5 with the 1×1 that narrows before each,
    /// and of the 1×1 after the pooling.
    package init(_ c1: Int, _ narrow3: Int, _ c3: Int, _ narrow5: Int, _ c5: Int, pool: Int) {
        branch1 = BasicConv2d(c1, kernel: 1)
        branch2 = Sequential(BasicConv2d(narrow3, kernel: 1), BasicConv2d(c3, kernel: 3, padding: 1))
        branch3 = Sequential(BasicConv2d(narrow5, kernel: 1), BasicConv2d(c5, kernel: 3, padding: 1))
        branch4 = Sequential(
            MaxPool2d(kernel: 3, stride: 1, padding: 1, ceilMode: true), BasicConv2d(pool, kernel: 1))
    }

    package func callAsFunction(_ x: Value) -> Value { concatenate([branch1(x), branch2(x), branch3(x), branch4(x)]) }
}

/// A classifier at half of the depth, which trains alone (Szegedy et al. 2014, section 5).
package final class InceptionAux: Module {
    let conv = BasicConv2d(128, kernel: 1)
    let fc1 = Linear(1024, initializer: googLeNetWeight)
    let fc2: Linear
    let dropout: Dropout

    package init(classes: Int, dropout: Float = 0.7) {
        fc2 = Linear(classes, initializer: googLeNetWeight)
        self.dropout = Dropout(dropout)
    }

    package func callAsFunction(_ x: Value) -> Value {
        let h = flatten(conv(adaptiveAveragePool(x, to: 4)))
        return fc2(dropout(relu(fc1(h))))
    }
}

/// GoogLeNet (Szegedy et al. 2014, table 1) with batch normalisation, as torchvision has it.
public final class GoogLeNet: Module {
    let conv1 = BasicConv2d(64, kernel: 7, stride: 2, padding: 3)
    let conv2 = BasicConv2d(64, kernel: 1)
    let conv3 = BasicConv2d(192, kernel: 3, padding: 1)
    let inception3a = Inception(64, 96, 128, 16, 32, pool: 32)
    let inception3b = Inception(128, 128, 192, 32, 96, pool: 64)
    let inception4a = Inception(192, 96, 208, 16, 48, pool: 64)
    let inception4b = Inception(160, 112, 224, 24, 64, pool: 64)
    let inception4c = Inception(128, 128, 256, 24, 64, pool: 64)
    let inception4d = Inception(112, 144, 288, 32, 64, pool: 64)
    let inception4e = Inception(256, 160, 320, 32, 128, pool: 128)
    let inception5a = Inception(256, 160, 320, 32, 128, pool: 128)
    let inception5b = Inception(384, 192, 384, 48, 128, pool: 128)
    let aux1, aux2: InceptionAux?
    let dropout: Dropout
    let fc: Linear?
    private let transformsInput: Bool

    /// The weight of each auxiliary classifier's loss (section 5).
    public static let auxiliaryWeight: Float = 0.3

    /// - Parameters:
    ///   - classes: nil leaves the last layer out, and with it the auxiliary classifiers: 1,024 features.
    ///   - auxiliary: whether there are auxiliary classifiers; they take part in training alone.
    ///   - dropout: of all dropout layers; nil is 0.2 before the last layer and 0.7 in the auxiliary classifiers.
    ///   - transformsInput: takes samples normalised for torchvision's other models and gives them the mean and deviation
    ///     0.5 of every channel that torchvision's weights were trained with.
    public init(classes: Int? = 1000, auxiliary: Bool = true, dropout: Float? = nil, transformsInput: Bool = false) {
        func head() -> InceptionAux? {
            auxiliary ? classes.map { InceptionAux(classes: $0, dropout: dropout ?? 0.7) } : nil
        }
        (aux1, aux2) = (head(), head())
        self.dropout = Dropout(dropout ?? 0.2)
        fc = classes.map { Linear($0, initializer: googLeNetWeight) }
        self.transformsInput = transformsInput
    }

    public func callAsFunction(_ x: Value) -> Value {
        let input = transformsInput ? scaleChannels(x, by: Self.inputScale, adding: Self.inputShift) : x
        let stem = conv3(conv2(halve(conv1(input))))
        let h3 = inception3b(inception3a(halve(stem)))
        let h4a = inception4a(halve(h3))
        classify(h4a, aux1)
        let h4d = inception4d(inception4c(inception4b(h4a)))
        classify(h4d, aux2)
        let h4 = maxPool(inception4e(h4d), kernel: 2, ceilMode: true)
        let h = flatten(globalAveragePool(inception5b(inception5a(h4))))
        return fc.map { $0(dropout(h)) } ?? h
    }

    private func halve(_ x: Value) -> Value { maxPool(x, kernel: 3, stride: 2, ceilMode: true) }

    private func classify(_ x: Value, _ head: InceptionAux?) {
        if x.mode == .training, let head { auxiliaryLoss(head(x), weight: Self.auxiliaryWeight) }
    }

    // From mean 0.485, 0.456, 0.406 and deviation 0.229, 0.224, 0.225 to 0.5 and 0.5.
    private static let inputScale: [Float] = [0.229 / 0.5, 0.224 / 0.5, 0.225 / 0.5]
    private static let inputShift: [Float] = [(0.485 - 0.5) / 0.5, (0.456 - 0.5) / 0.5, (0.406 - 0.5) / 0.5]
}

private let googLeNetWeight = Initializer.truncatedNormal(standardDeviation: 0.01, lower: -2, upper: 2)
