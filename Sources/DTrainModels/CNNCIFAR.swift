public import DTrainLayers

/// The network of PyTorch's CIFAR-10 tutorial: convolution, ReLU, pooling, twice, and three linear layers.
public final class CNNCIFAR: Module {
    let conv1 = Conv2d(6, kernel: 5)
    let conv2 = Conv2d(16, kernel: 5)
    let fc1 = Linear(120)
    let fc2 = Linear(84)
    let fc3: Linear?

    /// `classes` nil leaves the last layer out: 84 features.
    public init(classes: Int? = 10) { fc3 = classes.map { Linear($0) } }

    public func callAsFunction(_ x: Value) -> Value {
        let h1 = maxPool(relu(conv1(x)), kernel: 2)
        let h2 = maxPool(relu(conv2(h1)), kernel: 2)
        let h = relu(fc2(relu(fc1(flatten(h2)))))
        return fc3?(h) ?? h
    }
}
