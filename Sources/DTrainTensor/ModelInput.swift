/// What a model reads for one sample.
public enum ModelInput: Hashable, Sendable {
    /// fp32 values of this shape: an image is height × width × channels.
    case values(Shape)
    /// A sequence of at most `longest` steps, each fp32 values of this shape; the sequences of a batch are packed.
    case steps(Shape, longest: Int)
    /// A sequence of at most `longest` tokens, int32 numbers below `vocabulary`; the sequences of a batch are packed.
    case tokens(vocabulary: Int, longest: Int)

    /// The steps of the longest sequence; 1 where there is none.
    public var longest: Int {
        switch self {
        case .values: 1
        case .steps(_, let longest), .tokens(_, let longest): longest
        }
    }

    /// The shape of one sample, or of one step of a sequence; of a token, one number.
    public var shape: Shape {
        switch self {
        case .values(let shape), .steps(let shape, _): shape
        case .tokens: [1]
        }
    }

    /// Whether samples are sequences.
    public var isSequence: Bool { if case .values = self { false } else { true } }
}
