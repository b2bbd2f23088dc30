internal import DTrainTensor

/// y = x · weightᵀ + bias (PyTorch's Linear), over the last extent of the input.
///
/// Parameters: `weight` outputs × inputs, `bias` outputs. After `flatten` of an image the weight's columns lie in the
/// image's own order in memory; on disk they have PyTorch's.
public final class Linear: Module {
    let outputs: Int
    let bias: Bool
    let initializer: Initializer
    let biasInitializer: Initializer?

    /// - Parameters:
    ///   - outputs: output features; the input's are found when the model is traced.
    ///   - bias: whether a bias is added.
    ///   - initializer: of the weight.
    ///   - biasInitializer: of the bias; nil is PyTorch's default, uniform in ±1/√inputs.
    public init(
        _ outputs: Int, bias: Bool = true, initializer: Initializer = .standardWeight,
        biasInitializer: Initializer? = nil
    ) {
        self.outputs = outputs
        self.bias = bias
        self.initializer = initializer
        self.biasInitializer = biasInitializer
    }

    public func callAsFunction(_ x: Value) -> Value {
        let inputs = x.shape.dimensions.last ?? 1
        var order = StorageOrder.plain
        if let image = x.flattenedImage {
            order = .flattenedImage(outputs: outputs, height: image[0], width: image[1], channels: image[2])
        }
        return x.applying(
            DTrainEngine.Linear(outputs: outputs, hasBias: bias), layer: self,
            parameters: parameters(
                weight: [outputs, inputs], order, initializer, bias: bias ? outputs : nil, biasInitializer))
    }
}
