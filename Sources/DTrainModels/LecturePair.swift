public import DTrainLayers

/// The fully connected half of the lecture's pair: 784-8-8-10 with ReLU, 6,442 parameters on 28×28 pixels.
public final class MLPSmall: Module {
    let fc1 = Linear(8)
    let fc2 = Linear(8)
    let fc3: Linear?

    /// `classes` nil leaves the last layer out: 8 features.
    public init(classes: Int? = 10) { fc3 = classes.map { Linear($0) } }

    public func callAsFunction(_ x: Value) -> Value {
        let h = relu(fc2(relu(fc1(flatten(x)))))
        return fc3?(h) ?? h
    }
}

/// The convolutional half: two convolutions of 6 channels and linear layers of 50 and 10, 6,422 parameters on 28×28 pixels.
/// With 5×5 kernels and a pooling of 2 after each, 4×4 pixels of 6 channels are left:
/// (25 + 1) · 6 + (6 · 25 + 1) · 6 + (96 + 1) · 50 + (50 + 1) · 10 = 156 + 906 + 4,850 + 510 = 6,422.
public final class CNNSmall: Module {
    let conv1 = Conv2d(6, kernel: 5)
    let conv2 = Conv2d(6, kernel: 5)
    let fc1 = Linear(50)
    let fc2: Linear?

    /// `classes` nil leaves the last layer out: 50 features.
    public init(classes: Int? = 10) { fc2 = classes.map { Linear($0) } }

    public func callAsFunction(_ x: Value) -> Value {
        let h1 = relu(maxPool(conv1(x), kernel: 2))
        let h2 = relu(maxPool(conv2(h1), kernel: 2))
        let h = relu(fc1(flatten(h2)))
        return fc2?(h) ?? h
    }
}
