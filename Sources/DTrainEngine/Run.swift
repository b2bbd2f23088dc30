internal import CKernels
internal import DTrainTensor

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

    /// How many threads have a part of 0 ..< `count`.
    package func threads(for count: Int) -> Int { (0..<threadCount).count { !pool.part($0, of: count).isEmpty } }

    /// Whether there are fewer samples than threads, which then share their lines.
    var sharesLines: Bool { rows < threadCount }

    /// This thread's lines of samples of `height` lines, counted over all samples. `group` lines of a sample stay together.
    func lines(height: Int, group: Int) -> Range<Int> {
        let groups = Self.groups(height, group)
        let part = part(of: rows * groups)
        func line(_ index: Int) -> Int { index / groups * height + index % groups * group }
        return line(part.lowerBound)..<line(part.upperBound)
    }

    /// How many threads, the first ones, have such lines.
    func threads(height: Int, group: Int) -> Int { threads(for: rows * Self.groups(height, group)) }

    private static func groups(_ height: Int, _ group: Int) -> Int { (height + group - 1) / group }

    /// The lines that stay together: `lineGroup` where threads share lines, and all of a sample where they share samples.
    func sharedGroup(_ lineGroup: Int, height: Int) -> Int { sharesLines ? lineGroup : height }

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
