public import DTrainLayers

/// Three linear layers with ReLU between them, over the flattened image: 784-512-256-classes.
public final class MLP: Module {
    let fc1 = Linear(512)
    let fc2 = Linear(256)
    let fc3: Linear

    public init(classes: Int = 10) { fc3 = Linear(classes) }

    public func callAsFunction(_ x: Value) -> Value { fc3(relu(fc2(relu(fc1(flatten(x)))))) }
}
