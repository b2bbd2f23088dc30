public import DTrainLayers

/// Batch normalisation, ReLU and convolution, twice: a 1×1 to 4 · `growth` channels and a 3×3 to `growth` (Huang et al. 2016,
/// "bottleneck layers").
package final class DenseLayer: Module {
    let norm1 = BatchNorm2d(), norm2 = BatchNorm2d()
    let conv1, conv2: Conv2d

    package init(growth: Int, bottleneck: Int = 4) {
        conv1 = denseConvolution(bottleneck * growth, kernel: 1)
        conv2 = denseConvolution(growth, kernel: 3, padding: 1)
    }

    package func callAsFunction(_ x: Value) -> Value { conv2(relu(norm2(conv1(relu(norm1(x)))))) }
}

/// Layers that each see the channels of all before them and add `growth` (Huang et al. 2016, figure 1).
package final class DenseBlock: ModuleContainer {
    private let layers: [DenseLayer]

    package init(layers: Int, growth: Int, bottleneck: Int = 4) {
        self.layers = (0..<layers).map { _ in DenseLayer(growth: growth, bottleneck: bottleneck) }
    }

    package var children: [(name: String, module: any Module)] {
        zip(1..., layers).map { (name: "denselayer\($0)", module: $1) }
    }

    package func callAsFunction(_ x: Value) -> Value {
        layers.reduce(x) { features, layer in concatenate([features, layer(features)]) }
    }
}

/// Between two blocks: half of the channels, half of the extents.
package final class DenseTransition: Module {
    let norm = BatchNorm2d()
    let conv: Conv2d

    package init(channels: Int) { conv = denseConvolution(channels, kernel: 1) }

    package func callAsFunction(_ x: Value) -> Value { averagePool(conv(relu(norm(x))), kernel: 2) }
}

/// The stem, four dense blocks with transitions between them, and the last normalisation.
private final class DenseFeatures: Module {
    let conv0 = denseConvolution(64, kernel: 7, stride: 2, padding: 3)
    let norm0 = BatchNorm2d()
    let denseblock1, denseblock2, denseblock3, denseblock4: DenseBlock
    let transition1, transition2, transition3: DenseTransition
    let norm5 = BatchNorm2d()

    init(blocks: [Int], growth: Int) {
        var channels = 64
        func transition(after layers: Int) -> DenseTransition {
            channels = (channels + layers * growth) / 2
            return DenseTransition(channels: channels)
        }
        denseblock1 = DenseBlock(layers: blocks[0], growth: growth)
        transition1 = transition(after: blocks[0])
        denseblock2 = DenseBlock(layers: blocks[1], growth: growth)
        transition2 = transition(after: blocks[1])
        denseblock3 = DenseBlock(layers: blocks[2], growth: growth)
        transition3 = transition(after: blocks[2])
        denseblock4 = DenseBlock(layers: blocks[3], growth: growth)
    }

    func callAsFunction(_ x: Value) -> Value {
        let stem = maxPool(relu(norm0(conv0(x))), kernel: 3, stride: 2, padding: 1)
        let h1 = transition1(denseblock1(stem))
        let h2 = transition2(denseblock2(h1))
        let h3 = transition3(denseblock3(h2))
        return norm5(denseblock4(h3))
    }
}

/// Densely connected networks with bottlenecks and compression (Huang et al. 2016, table 1), as torchvision has them.
public final class DenseNet: Module {
    private let features: DenseFeatures
    private let classifier: Linear?

    /// - Parameters:
    ///   - blocks: the number of layers in each of the four blocks.
    ///   - growth: the channels that a layer adds.
    ///   - classes: nil leaves the last layer out.
    public init(blocks: [Int], growth: Int = 32, classes: Int? = 1000) {
        features = DenseFeatures(blocks: blocks, growth: growth)
        classifier = classes.map { Linear($0, biasInitializer: .constant(0)) }
    }

    public func callAsFunction(_ x: Value) -> Value {
        let h = flatten(globalAveragePool(relu(features(x))))
        return classifier?(h) ?? h
    }
}

/// A convolution without bias, because batch normalisation follows.
private func denseConvolution(_ channels: Int, kernel: Pair, stride: Pair = 1, padding: Pair = 0) -> Conv2d {
    Conv2d(channels, kernel: kernel, stride: stride, padding: padding, bias: false, initializer: .kaimingNormal())
}
