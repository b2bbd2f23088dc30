internal import CKernels
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

/// Where a value or its gradient lies.
package struct Place: Sendable {
    package enum Memory: Sendable {
        /// At this offset, in bytes, of the plan's arena.
        case arena(Int)
        /// The samples, or the labels, that a run is given.
        case input, labels
    }
    package var memory: Memory
    /// The shape of one row.
    package let shape: Shape
    /// Elements from one pixel to the next; more than the channels where this is a slice of a concatenation.
    package var pixelStride: Int
    package let rows: Graph.Rows
    package let element: Element

    package var channels: Int { shape.dimensions.last ?? 1 }
    package var pixels: Int { shape.count / max(channels, 1) }
    /// Elements from one row to the next.
    package var sampleStride: Int { pixels * pixelStride }
}

/// An operation's place in a plan: what its kernel reads and writes.
package struct Site: Sendable {
    /// A gradient to be written: set, or added to where another reader has written before.
    package struct Gradient: Sendable {
        package let place: Place
        package let accumulate: Bool
    }
    /// A parameter's place in the arena, and whether its gradient is set or added to.
    package struct Parameter: Sendable {
        package let range: Range<Int>
        package let accumulate: Bool
        /// False for a frozen parameter: it has no gradient, and no place for one.
        package let isTrainable: Bool
    }

    package let inputs: [Place]
    /// The batch-norm before the first input, where it left normalisation to this operation.
    package let inputBatchNorm: DeferredBatchNorm?
    /// What a batch-norm need not measure.
    package let knownStatistics: KnownStatistics?
    package let output: Place
    /// nil where nothing trainable lies before the input.
    package let inputGradients: [Gradient?]
    /// nil where no gradient comes back.
    package let outputGradient: Place?
    /// Further outputs, and their gradients.
    package let states: [Place]
    package let stateGradients: [Place?]
    package let parameters: [Parameter]
    /// Offsets in the arena, in floats.
    package let saved: Int
    package let forwardWorkspace: Int
    package let backwardWorkspace: Int
    /// The offset of the step's statistics, in doubles.
    package let statistics: Int
    /// The offset in a stream's carried state, in floats.
    package let carriedState: Int
    package let extents: Extents
    /// The node's index, which tells the dropout layers of a model apart.
    package let index: Int
}

/// An operation with every choice made: runs without allocating.
///
/// All threads call both functions, each with a `Run` of its own, and do their part; between two kernels they meet.
package protocol Kernel: AnyObject, Sendable {
    func forward(_ run: Run)
    func backward(_ run: Run)
}

/// One thread's view of one run of a plan: base pointers, the extent, and its share of the work.
package final class Run: @unchecked Sendable {
    package let thread: Int
    package let arena: UnsafeMutablePointer<Float>
    package let parameters: UnsafeMutablePointer<Float>
    package let gradients: UnsafeMutablePointer<Float>
    package let statistics: UnsafeMutablePointer<Double>
    package internal(set) var input: UnsafeMutablePointer<Float>
    package internal(set) var labels: UnsafePointer<Int32>
    /// Where samples are mixed: the label of each sample's partner, and the weight of its own label.
    package internal(set) var mixing: (partnerLabels: UnsafePointer<Int32>, weights: UnsafePointer<Float>)?
    /// The samples of this run.
    package internal(set) var rows = 0
    /// How their sequences are packed, where the model reads sequences.
    package internal(set) var sequences: RunSequences?
    /// What streams carry from batch to batch.
    package internal(set) var carriedState: CarriedState?
    /// The position of the first sample in the global batch.
    package internal(set) var firstPosition = 0
    package internal(set) var step = 0
    package internal(set) var seed: UInt64 = 0
    /// Whom a training run tells what is final, and asks for sums over ranks.
    var context: (any StepContext)?
    /// Whom a training run tells how long its kernels take.
    var observer: (any KernelObserver)?
    /// How many gradients of parameters this thread had a part in: what is frozen must not be among them.
    package internal(set) var parameterGradientCount = 0
    private let pool: ThreadPool

    init(
        thread: Int, pool: ThreadPool, arena: UnsafeMutablePointer<Float>, parameters: UnsafeMutablePointer<Float>,
        gradients: UnsafeMutablePointer<Float>, statistics: UnsafeMutablePointer<Double>
    ) {
        self.thread = thread
        self.pool = pool
        self.arena = arena
        self.parameters = parameters
        self.gradients = gradients
        self.statistics = statistics
        input = arena
        labels = UnsafeRawPointer(arena).assumingMemoryBound(to: Int32.self)
    }

    package var threadCount: Int { pool.threadCount }

    /// This thread's part of 0 ..< `count`, bounds at multiples of `granularity`; it may be empty.
    package func part(of count: Int, granularity: Int = 1) -> Range<Int> {
        pool.part(thread, of: count, granularity: granularity)
    }

    /// The part of another thread.
    package func part(ofThread thread: Int, of count: Int) -> Range<Int> { pool.part(thread, of: count) }

    /// When a kernel starts; nobody looks at the clock where nobody asks.
    var startTime: Int { observer == nil ? 0 : monotonicNanoseconds() }

    /// Tells the observer that this thread's part of a kernel is done.
    func ran(_ node: Int, _ pass: KernelPass, since start: Int) {
        observer?.ran(node: node, pass: pass, thread: thread, from: start, to: monotonicNanoseconds())
    }

    /// Waits until all threads have come here, in the middle of a kernel.
    package func meet() { pool.barrier.wait() }

    /// Sums `count` values over all ranks that train, at the same place of the plan on each. All threads come here, and go
    /// on once the sums are there.
    package func sumOverRanks(_ values: UnsafeMutablePointer<Double>, count: Int) {
        meet()
        if thread == 0 { context?.sum(MemorySlice(base: values, count: count)) }
        meet()
    }

    /// Where the gradient of `parameter` is to be written, nil where it is frozen.
    package func gradient(of parameter: Site.Parameter) -> UnsafeMutablePointer<Float>? {
        guard parameter.isTrainable else { return nil }
        parameterGradientCount += 1
        return gradients + parameter.range.lowerBound
    }

    /// The input's tokens, where the model reads any.
    package var tokens: UnsafePointer<Int32> {
        UnsafePointer(UnsafeRawPointer(input).assumingMemoryBound(to: Int32.self))
    }

    /// The rows of a value in this run.
    package func rows(_ place: Place) -> Int { place.rows == .samples ? rows : sequences!.tokenCount }

    /// The first element of a value that lies in memory as fp32.
    package func pointer(_ place: Place) -> UnsafeMutablePointer<Float> { elements(place).floats }

    /// The pixels of a value.
    func pixels(_ place: Place) -> Pixels { Pixels(elements: elements(place), stride: place.pixelStride) }

    /// The elements of a value.
    func elements(_ place: Place) -> Elements {
        switch place.memory {
        case .arena(let offset):
            Elements(start: UnsafeMutableRawPointer(arena) + offset, is_bf16: place.element == .bf16 ? 1 : 0)
        case .input: Elements(input)
        case .labels: fatalError("labels are read through `labels`")
        }
    }
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
