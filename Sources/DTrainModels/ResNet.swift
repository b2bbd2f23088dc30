public import DTrainLayers

/// Two 3×3 convolutions around an identity shortcut (He et al. 2015, figure 5, left).
package final class BasicBlock: Module {
    let conv1, conv2: Conv2d
    let bn1 = BatchNorm2d(), bn2 = BatchNorm2d()
    let downsample: Sequential?

    package init(_ channels: Int, stride: Int = 1, projects: Bool = false) {
        conv1 = convolution(channels, kernel: 3, stride: stride)
        conv2 = convolution(channels, kernel: 3)
        downsample = projects ? projection(channels, stride: stride) : nil
    }

    package func callAsFunction(_ x: Value) -> Value {
        let residual = bn2(conv2(relu(bn1(conv1(x)))))
        return relu(residual + (downsample?(x) ?? x))
    }
}

/// A 3×3 convolution between a 1×1 that narrows and a 1×1 that widens to four times `channels` (He et al. 2015, figure 5,
/// right), with the stride in the 3×3 as torchvision has it. In groups it is ResNeXt's block (Xie et al. 2016, figure 3c),
/// with a wider middle that of wide ResNets (Zagoruyko and Komodakis 2016).
package final class Bottleneck: Module {
    let conv1, conv2, conv3: Conv2d
    let bn1 = BatchNorm2d(), bn2 = BatchNorm2d(), bn3 = BatchNorm2d()
    let downsample: Sequential?

    /// Output channels for each of `channels`.
    package static let expansion = 4

    /// `middle` is the width of the 3×3 convolution; default `channels`.
    package init(_ channels: Int, stride: Int = 1, projects: Bool = false, middle: Int? = nil, groups: Int = 1) {
        let middle = middle ?? channels
        conv1 = convolution(middle, kernel: 1)
        conv2 = convolution(middle, kernel: 3, stride: stride, groups: groups)
        conv3 = convolution(channels * Self.expansion, kernel: 1)
        downsample = projects ? projection(channels * Self.expansion, stride: stride) : nil
    }

    package func callAsFunction(_ x: Value) -> Value {
        let narrow = relu(bn1(conv1(x)))
        let residual = bn3(conv3(relu(bn2(conv2(narrow)))))
        return relu(residual + (downsample?(x) ?? x))
    }
}

/// Residual networks for ImageNet (He et al. 2015, table 1), ResNeXt, wide ResNets, and ResNet-18 for small images; names
/// and initialisation are torchvision's.
public final class ResNet: Module {
    /// What the four stages are built of.
    public enum Block: Hashable, Sendable {
        case basic
        /// `width` is that of a group's 3×3 convolution in the first stage, where plain ResNets have 64.
        case bottleneck(groups: Int = 1, width: Int = 64)
    }

    let conv1: Conv2d
    let bn1 = BatchNorm2d()
    let layer1, layer2, layer3, layer4: Sequential
    let fc: Linear?
    private let isForSmallImages: Bool

    /// - Parameters:
    ///   - block: what the stages are built of.
    ///   - stages: the number of blocks in each of the four stages.
    ///   - smallImages: a 3×3 convolution instead of the 7×7 one with stride 2 at the start, and no pooling after it, for
    ///     images of some 32×32 pixels.
    ///   - classes: nil leaves the last layer out: 512 features, 2,048 of bottlenecks.
    public init(_ block: Block, stages: [Int], smallImages: Bool = false, classes: Int? = 1000) {
        isForSmallImages = smallImages
        conv1 = smallImages ? convolution(64, kernel: 3) : convolution(64, kernel: 7, stride: 2)
        layer1 = stage(block, 64, stages[0])
        layer2 = stage(block, 128, stages[1], stride: 2)
        layer3 = stage(block, 256, stages[2], stride: 2)
        layer4 = stage(block, 512, stages[3], stride: 2)
        fc = classes.map { Linear($0) }
    }

    public func callAsFunction(_ x: Value) -> Value {
        let h1 = relu(bn1(conv1(x)))
        let h2 = isForSmallImages ? h1 : maxPool(h1, kernel: 3, stride: 2, padding: 1)
        let h = flatten(globalAveragePool(layer4(layer3(layer2(layer1(h2))))))
        return fc?(h) ?? h
    }
}

/// `count` blocks, of which the first has the stride and, where the shape changes, a projection as its shortcut.
private func stage(_ block: ResNet.Block, _ channels: Int, _ count: Int, stride: Int = 1) -> Sequential {
    Sequential(
        (0..<count).map { index -> any Module in
            let stride = index == 0 ? stride : 1
            switch block {
            case .basic: return BasicBlock(channels, stride: stride, projects: stride != 1)
            case .bottleneck(let groups, let width):
                return Bottleneck(
                    channels, stride: stride, projects: index == 0, middle: channels * width / 64 * groups,
                    groups: groups)
            }
        })
}

/// A convolution that keeps the extents at stride 1, without bias because batch normalisation follows.
func convolution(_ channels: Int, kernel: Int, stride: Int = 1, groups: Int = 1) -> Conv2d {
    Conv2d(
        channels, kernel: Pair(kernel, kernel), stride: Pair(stride, stride), padding: Pair(kernel / 2, kernel / 2),
        groups: groups, bias: false, initializer: .kaimingNormal(fan: .output))
}

/// The shortcut where a block changes the shape: a 1×1 convolution (He et al. 2015, section 3.3, option B).
private func projection(_ channels: Int, stride: Int) -> Sequential {
    Sequential(convolution(channels, kernel: 1, stride: stride), BatchNorm2d())
}
