public import DTrainLayers

/// Two 3×3 convolutions, with a shortcut that costs no parameters or with none at all.
private final class CIFARBlock: Module {
    let conv1, conv2: Conv2d
    let bn1 = BatchNorm2d(), bn2 = BatchNorm2d()
    private let channels: Int
    private let stride: Int
    private let hasShortcut: Bool

    init(_ channels: Int, stride: Int, shortcut: Bool) {
        conv1 = convolution(channels, kernel: 3, stride: stride)
        conv2 = convolution(channels, kernel: 3)
        self.channels = channels
        self.stride = stride
        hasShortcut = shortcut
    }

    func callAsFunction(_ x: Value) -> Value {
        let h = bn2(conv2(relu(bn1(conv1(x)))))
        guard hasShortcut else { return relu(h) }
        // Where the shape changes: every second pixel, and zeros for the new channels (option A).
        return relu(h + (stride == 1 ? x : zeroPaddingShortcut(x, channels: channels, stride: stride)))
    }
}

/// The networks of 6n + 2 layers that He et al. 2015 (section 4.2) train on CIFAR-10 to show the degradation of plain
/// networks with depth: a 3×3 convolution, three stages of n blocks with 16, 32 and 64 channels, the mean of all pixels
/// and a linear layer. Names and initialisation are like torchvision's for its ResNets.
public final class ResNetCIFAR: Module {
    let conv1 = convolution(16, kernel: 3)
    let bn1 = BatchNorm2d()
    let layer1, layer2, layer3: Sequential
    let fc: Linear?

    /// - Parameters:
    ///   - depth: 6n + 2 for some n: 20, 32, 44, 56, 110.
    ///   - shortcuts: false for the plain network.
    ///   - classes: nil leaves the last layer out: 64 features.
    public init(depth: Int, shortcuts: Bool = true, classes: Int? = 10) {
        precondition(depth > 2 && depth % 6 == 2, "a depth of \(depth) is not 6n + 2")
        func stage(_ channels: Int, stride: Int) -> Sequential {
            Sequential(
                (0..<depth / 6).map {
                    CIFARBlock(channels, stride: $0 == 0 ? stride : 1, shortcut: shortcuts)
                })
        }
        layer1 = stage(16, stride: 1)
        layer2 = stage(32, stride: 2)
        layer3 = stage(64, stride: 2)
        fc = classes.map { Linear($0) }
    }

    public func callAsFunction(_ x: Value) -> Value {
        let h = flatten(globalAveragePool(layer3(layer2(layer1(relu(bn1(conv1(x))))))))
        return fc?(h) ?? h
    }
}
