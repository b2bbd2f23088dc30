/// What a model reads for one sample.
public enum ModelInput: Hashable, Sendable {
    /// fp32 values of this shape: an image is height × width × channels.
    case values(Shape)
    /// A sequence of at most `longest` steps, each fp32 values of this shape; the sequences of a batch are packed.
    case steps(Shape, longest: Int)
    /// A sequence of at most `longest` tokens, int32 numbers below `vocabulary`; the sequences of a batch are packed.
    case tokens(vocabulary: Int, longest: Int)
}
