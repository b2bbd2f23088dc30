public import DTrainLayers

/// 3×3 convolutions and pooling in five stages, then three linear layers (Simonyan and Zisserman 2014, table 1), with
/// torchvision's initialisation.
public final class VGG: Module {
    let features: Sequential
    let classifier: Sequential?

    /// - Parameters:
    ///   - stages: the number of convolutions in each of the five stages, of 64, 128, 256, 512 and 512 channels.
    ///   - batchNorm: whether batch normalisation follows each convolution.
    ///   - classes: nil leaves the classifier out: 25,088 features.
    ///   - dropout: after the first two linear layers.
    public init(stages: [Int], batchNorm: Bool = false, classes: Int? = 1000, dropout: Float = 0.5) {
        let widths = [64, 128, 256, 512, 512]
        features = vggFeatures(zip(widths, stages).map { (channels: $0, convolutions: $1) }, batchNorm: batchNorm)
        func linear(_ outputs: Int) -> Linear {
            Linear(outputs, initializer: .normal(standardDeviation: 0.01), biasInitializer: .constant(0))
        }
        classifier = classes.map {
            Sequential(
                linear(4096), ReLU(), Dropout(dropout), linear(4096), ReLU(), Dropout(dropout), linear($0))
        }
    }

    public func callAsFunction(_ x: Value) -> Value {
        let h = flatten(adaptiveAveragePool(features(x), to: 7))
        return classifier?(h) ?? h
    }
}

/// Stages of convolutions, each with batch normalisation if wanted and ReLU, and a pooling that halves the image.
package func vggFeatures(_ stages: [(channels: Int, convolutions: Int)], batchNorm: Bool) -> Sequential {
    var layers: [any Module] = []
    for stage in stages {
        for _ in 0..<stage.convolutions {
            layers.append(
                Conv2d(
                    stage.channels, kernel: 3, padding: 1, initializer: .kaimingNormal(fan: .output),
                    biasInitializer: .constant(0)))
            if batchNorm { layers.append(BatchNorm2d()) }
            layers.append(ReLU())
        }
        layers.append(MaxPool2d(kernel: 2))
    }
    return Sequential(layers)
}
