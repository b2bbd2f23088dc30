public import DTrainLayers

/// The lecture's first convolutional network for digits: convolution, pooling, ReLU, twice, and a linear layer.
public final class CNNMNIST: Module {
    let conv1 = Conv2d(10, kernel: 5)
    let conv2 = Conv2d(20, kernel: 5)
    let fc: Linear?

    /// `classes` nil leaves the last layer out.
    public init(classes: Int? = 10) { fc = classes.map { Linear($0) } }

    public func callAsFunction(_ x: Value) -> Value {
        let h1 = relu(maxPool(conv1(x), kernel: 2))
        let h2 = relu(maxPool(conv2(h1), kernel: 2))
        let h = flatten(h2)
        return fc?(h) ?? h
    }
}
