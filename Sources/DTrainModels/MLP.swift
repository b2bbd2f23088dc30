public import DTrainLayers

/// Three linear layers with ReLU between them, over the flattened image: 784-512-256-classes.
public final class MLP: Module {
    let fc1 = Linear(512)
    let fc2 = Linear(256)
    let fc3: Linear?

    /// `classes` nil leaves the last layer out.
    public init(classes: Int? = 10) { fc3 = classes.map { Linear($0) } }

    public func callAsFunction(_ x: Value) -> Value {
        let h = relu(fc2(relu(fc1(flatten(x)))))
        return fc3?(h) ?? h
    }
}
