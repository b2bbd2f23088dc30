package import DTrainTensor

/// One kind of node: its shape rule, what it costs, what it keeps, and how it becomes a kernel.
package protocol Operation: Sendable {
    /// The name in tables, traces and errors.
    var name: String { get }
    /// The output's shape, for one row; throws a message that names the offending extents.
    func outputShape(_ inputs: [Shape]) throws -> Shape
    /// The shapes of further outputs, one row a sample each: final states.
    func stateShapes(_ inputs: [Shape]) -> [Shape]
    /// How it takes sequences.
    var sequences: SequenceUse { get }
    /// Whether it reads the numbers of tokens, or labels, rather than fp32 values.
    var readsTokens: Bool { get }
    /// Floats of one stream's state that it carries from batch to batch.
    var carriedStateCount: Int { get }
    /// Multiply-adds of the forward pass for one row of the output.
    func multiplyAdds(inputs: [Shape], output: Shape) -> Int
    /// The extent and stride of the window that one output pixel sees.
    var window: (kernel: Int, stride: Int) { get }

    /// What becomes of a flattened image that is still in its own order.
    var flattenedInput: FlattenedInput { get }
    /// What backward reads of the forward pass.
    var backwardReads: BackwardReads { get }
    /// Whether the output may take the memory of the first input, and its gradient the memory of the output's.
    var worksInPlace: Bool { get }
    /// Whether the gradient of the first input may take the memory of the output's; as `worksInPlace` by default.
    var gradientWorksInPlace: Bool { get }
    /// False for an operation that only gives the same elements another shape, or leaves them to its reader.
    var changesElements: Bool { get }
    /// Whether the output's pixels may lie apart, as a slice of a concatenation's channels do.
    var writesStridedPixels: Bool { get }
    /// Whether this input's pixels may lie apart, and its gradient's.
    func readsStridedPixels(input number: Int) -> Bool
    /// What may lie in memory as bf16 while training in that precision.
    func storedElements(_ extents: Extents) -> StoredElements
    /// Memory beyond inputs, outputs and gradients.
    func memory(_ extents: Extents) -> MemoryNeed
    /// The batch-norm by the batch's own statistics that it is, or has inside.
    var measuredBatchNorm: BatchNormUse? { get }
    /// How many doubles a training step leaves behind for the running statistics, to be summed over shards and ranks.
    func stepStatistics(_ inputs: [Shape]) -> Int
    /// The kernel for one place in a plan.
    func kernel(_ site: Site) -> any Kernel
}

/// How an operation takes a flattened image, whose features lie in the image's order and not in PyTorch's.
package enum FlattenedInput: Sendable {
    /// It needs PyTorch's order: a transpose comes before it.
    case transposed
    /// Element i of the output depends on element i alone, so the order goes through.
    case kept
    /// Its weight carries the permutation, or the order is its own business.
    case absorbed
}

/// What an operation makes of sequences.
package enum SequenceUse: Sendable {
    /// It knows samples alone.
    case refused
    /// Each row by itself, so that steps are as good as samples: all inputs have the same kind of rows, and so has the
    /// output.
    case rowwise
    /// The output's rows are those of the first input; other inputs have one row a sample.
    case recurrent
    /// A sequence goes in, and one row a sample comes out.
    case collapsed
    /// Rows of samples go in, and a sequence comes out.
    case stacked
}

/// What a backward pass reads of the forward pass.
package struct BackwardReads: OptionSet, Sendable {
    package let rawValue: Int
    package init(rawValue: Int) { self.rawValue = rawValue }
    package static let inputs = BackwardReads(rawValue: 1)
    package static let output = BackwardReads(rawValue: 2)
}

/// What an operation's memory depends on.
package struct Extents: Sendable {
    package let inputs: [Shape]
    package let output: Shape
    /// The largest number of samples of a run, and of rows of the output.
    package let samples: Int
    package let rows: Int
    /// The steps of the longest sequence.
    package let longest: Int
    package let threads: Int
    package let training: Bool
    package let precision: Precision
    /// How the inputs and the output lie in memory.
    package internal(set) var inputElements: [Element]
    package internal(set) var outputElement: Element
}

/// Memory an operation asks for, in floats.
package struct MemoryNeed: Sendable {
    /// Kept from the operation's forward pass to the end of its backward pass.
    package var saved = 0
    /// Scratch memory of forward.
    package var forwardWorkspace = 0
    /// Scratch memory of backward.
    package var backwardWorkspace = 0
}

/// An operation with every choice made: runs without allocating.
///
/// All threads call both functions, each with a `Run` of its own, and do their part; between two kernels they meet.
package protocol Kernel: AnyObject, Sendable {
    func forward(_ run: Run)
    func backward(_ run: Run)
}

extension Operation {
    /// Whether backward reads this input, by its number: a residual is only added.
    func readsBackward(input number: Int) -> Bool {
        backwardReads.contains(.inputs) && (number == 0 || measuredBatchNorm?.hasResidual != true)
    }
    package var window: (kernel: Int, stride: Int) { (1, 1) }
    package var flattenedInput: FlattenedInput { .transposed }
    package var backwardReads: BackwardReads { [] }
    package var worksInPlace: Bool { false }
    package var gradientWorksInPlace: Bool { worksInPlace }
    package var measuredBatchNorm: BatchNormUse? { nil }
    package func stepStatistics(_ inputs: [Shape]) -> Int { 0 }
    package func stateShapes(_ inputs: [Shape]) -> [Shape] { [] }
    package var sequences: SequenceUse { .refused }
    package var carriedStateCount: Int { 0 }
    package var readsTokens: Bool { false }
    package var changesElements: Bool { true }
    package var writesStridedPixels: Bool { false }
    package func readsStridedPixels(input number: Int) -> Bool { false }
    package func multiplyAdds(inputs: [Shape], output: Shape) -> Int { 0 }
    package func storedElements(_ extents: Extents) -> StoredElements { .fp32 }
    package func memory(_ extents: Extents) -> MemoryNeed { MemoryNeed() }
}

/// A shape that an operation cannot take, in words.
struct ShapeMismatch: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
