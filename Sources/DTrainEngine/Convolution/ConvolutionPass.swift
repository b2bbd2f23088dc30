internal import CKernels

/// Scratch memory of a pass, in floats: some for all threads together, some for each.
struct PassMemory {
    var shared = 0
    var perThread = 0

    /// Sizes in whole cache lines, so that threads do not share one.
    init(shared: Int = 0, perThread: Int = 0) {
        self.shared = shared.wholeLines
        self.perThread = perThread.wholeLines
    }
    func total(threads: Int) -> Int { shared + threads * perThread }
}

/// The scratch memory of a pass, as one thread sees it.
struct PassScratch {
    let shared: UnsafeMutablePointer<Float>
    let thread: Int
    private let memory: PassMemory

    init(_ start: UnsafeMutablePointer<Float>, _ memory: PassMemory, thread: Int) {
        shared = start
        self.memory = memory
        self.thread = thread
    }

    var own: UnsafeMutablePointer<Float> { own(of: thread) }
    func own(of thread: Int) -> UnsafeMutablePointer<Float> { shared + memory.shared + thread * memory.perThread }
}

/// A way to compute one of a convolution's three products.
protocol ConvolutionPass: Sendable {
    var memory: PassMemory { get }
    /// Whether images and gradients may be bf16 elements; otherwise they are fp32.
    var takesBF16: Bool { get }
    /// Whether its products' factors are bf16.
    var multipliesBF16: Bool { get }
    /// The samples that it wants at once to be fast; both ways go through samples in blocks.
    var blockSamples: Int { get }
    /// The lines of a sample that are computed together: ranges of lines begin and end at its multiples in each sample. Lines are
    /// those of the output, for an input gradient those of the input.
    var lineGroup: Int { get }
    /// Brings the weights into the pass's own order. All threads take part, and meet before they go on.
    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch)
}

extension ConvolutionPass {
    var takesBF16: Bool { false }
    var multipliesBF16: Bool { false }
    var blockSamples: Int { 1 }
    var lineGroup: Int { 1 }
    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {}
}

/// Y = X ⋆ W (+ bias), without the activation.
protocol ForwardPass: ConvolutionPass {
    /// Whether the bias costs nothing here; otherwise it is left to the caller.
    var addsBias: Bool { get }
    /// Computes the output lines `lines`, counted over all samples, and calls `finish` for each block of them while it is
    /// in the cache. Output pixels are `stride` elements apart; they are set, or added to.
    func forward(
        _ x: Elements, weights: UnsafePointer<Float>, bias: UnsafePointer<Float>?, into y: Elements, stride: Int,
        accumulate: Bool, lines: Range<Int>, scratch: PassScratch,
        finish: (_ lines: Range<Int>) -> Void)
}

/// dW = Σ over output lines of Xᵀ ⋆ dZ.
protocol WeightGradientPass: ConvolutionPass {
    /// Clears the thread's sum.
    func begin(_ scratch: PassScratch)
    /// Adds the share of the output lines `lines`, counted over all samples, to the thread's sum. It reads `dz` there alone.
    func add(
        _ x: Elements, _ dz: Elements, stride: Int, lines: Range<Int>, scratch: PassScratch)
    /// Sets, or adds to, the gradient with the sums of the first `active` threads, in their order; each thread does a part.
    func finish(
        _ run: Run, active: Int, into gradient: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: PassScratch)
}

/// dX = dZ ⋆ W transposed.
protocol InputGradientPass: ConvolutionPass {
    /// Sets, or adds to, the input lines `lines`, counted over all samples.
    func propagate(
        _ dz: Elements, stride: Int, weights: UnsafePointer<Float>, into dx: Elements, accumulate: Bool,
        lines: Range<Int>, scratch: PassScratch)
}
