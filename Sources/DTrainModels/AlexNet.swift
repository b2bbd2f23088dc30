public import DTrainLayers

/// Five convolutions and three linear layers (Krizhevsky et al. 2012), in the widths of "One weird trick for
/// parallelizing convolutional neural networks" (Krizhevsky 2014), as torchvision has it.
public final class AlexNet: Module {
    let features = Sequential(
        Conv2d(64, kernel: 11, stride: 4, padding: 2), ReLU(), MaxPool2d(kernel: 3, stride: 2),
        Conv2d(192, kernel: 5, padding: 2), ReLU(), MaxPool2d(kernel: 3, stride: 2),
        Conv2d(384, kernel: 3, padding: 1), ReLU(),
        Conv2d(256, kernel: 3, padding: 1), ReLU(),
        Conv2d(256, kernel: 3, padding: 1), ReLU(), MaxPool2d(kernel: 3, stride: 2))
    let classifier: Sequential?

    /// `classes` nil leaves the classifier out: 9,216 features. `dropout` comes before its first two linear layers.
    public init(classes: Int? = 1000, dropout: Float = 0.5) {
        classifier = classes.map {
            Sequential(Dropout(dropout), Linear(4096), ReLU(), Dropout(dropout), Linear(4096), ReLU(), Linear($0))
        }
    }

    public func callAsFunction(_ x: Value) -> Value {
        let h = flatten(adaptiveAveragePool(features(x), to: 6))
        return classifier?(h) ?? h
    }
}
