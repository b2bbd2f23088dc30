public import DTrainLayers

/// LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition"), with plain average pooling,
/// full connections between all channels, and a softmax at the end.
public final class LeNet5: Module {
    let conv1 = Conv2d(6, kernel: 5, padding: 2)
    let conv2 = Conv2d(16, kernel: 5)
    let fc1 = Linear(120)
    let fc2 = Linear(84)
    let fc3: Linear?

    /// `classes` nil leaves the last layer out.
    public init(classes: Int? = 10) { fc3 = classes.map { Linear($0) } }

    public func callAsFunction(_ x: Value) -> Value {
        let c1 = averagePool(tanh(conv1(x)), kernel: 2)
        let c2 = averagePool(tanh(conv2(c1)), kernel: 2)
        let h = tanh(fc2(tanh(fc1(flatten(c2)))))
        return fc3?(h) ?? h
    }
}
