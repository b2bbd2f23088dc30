/// Sets elements to zero with the given probability while training, and scales the others by 1 / (1 − probability)
/// (Srivastava et al. 2014); does nothing in evaluation.
///
/// The mask depends on seed, step, layer and the position in the global batch: the number of ranks does not change it.
public final class Dropout: Module {
    let probability: Float

    /// `probability` lies in 0 ..< 1; PyTorch's default is 0.5.
    public init(_ probability: Float = 0.5) { self.probability = probability }

    public func callAsFunction(_ x: Value) -> Value {
        x.mode == .training && probability > 0 ? x.applying(DropoutOperation(probability: probability), layer: self) : x
    }
}
