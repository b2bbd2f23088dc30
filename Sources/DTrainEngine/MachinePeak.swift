public import DTrainTensor

/// What this machine reaches, measured: the yardstick of a step's speed.
public struct MachinePeak: Sendable, Equatable, Codable {
    /// 10⁹ floating-point operations a second of matrix products that fit the caches.
    public var gflops: Double
    /// 10⁹ bytes a second, read and written, of a copy that is far larger than the caches.
    public var gigabytesPerSecond: Double

    public init(gflops: Double, gigabytesPerSecond: Double) {
        self.gflops = gflops
        self.gigabytesPerSecond = gigabytesPerSecond
    }

    /// Measures for less than half a second, with all threads of `pool` at once: products with 512 × 512 matrices, then copies
    /// of 16 MB and more. Products in fp32 are OpenBLAS's; those in bf16 are oneDNN's 1×1 convolutions, which know all units that
    /// processors have for them, and in a build without it dtrain's own. Each thread's best counts, because others may be at work
    /// on the machine too. To measure with other ranks, let all of them call it at the same moment and add the results.
    ///
    /// - Parameters:
    ///   - precision: of the products' factors, one that works here.
    ///   - sharers: the ranks on this machine. Together they copy 128 MB, or 16 MB a thread where that is more.
    ///   - processors: those that this rank has for itself. Threads that have to share them reach as much less.
    public static func measure(
        pool: ThreadPool, precision: Precision = .fp32, sharers: Int = 1, processors: Double = .infinity
    ) -> MachinePeak {
        _ = GEMM.prepare
        let threads = pool.threadCount
        let products =
            precision == .bf16 && OneDNN.version != nil
            ? Repetitions(threads: threads, bf16Channels: 512)
            : Repetitions(threads: threads, matrixExtent: 512, isBF16: precision == .bf16)
        pool.run(products)
        let copies = Repetitions(
            threads: threads, copiedByteCount: max((128 << 20) / (sharers * threads), 16 << 20))
        pool.run(copies)
        let share = min(1, processors / Double(threads))
        return MachinePeak(gflops: share * products.rate, gigabytesPerSecond: share * copies.rate)
    }
}

/// One piece of work that each thread repeats for a while, on memory of its own.
private final class Repetitions: PoolTask {
    private static let nanoseconds = 150_000_000

    /// What one repetition does: operations, or bytes.
    private let amount: Double
    private let work: (_ thread: Int, _ memory: [MemorySlice<Float>]) -> Void
    private let memory: [[AlignedMemory]]
    private let bestMemory: AlignedMemory
    /// Of each thread, in 10⁹ a second.
    private let best: MemorySlice<Double>

    /// Products of two square matrices.
    convenience init(threads: Int, matrixExtent extent: Int, isBF16: Bool) {
        let product = MatrixProduct(isBF16: isBF16)
        self.init(
            threads: threads, amount: 2 * Double(extent * extent * extent), blocks: 4,
            elementCount: max(extent * extent, product.scratchCount)
        ) { _, memory in
            product.multiply(
                .no, .no, m: extent, n: extent, k: extent, a: memory[0].base, lda: extent, b: memory[1].base,
                ldb: extent, accumulate: false, c: memory[2].base, ldc: extent, scratch: memory[3].base)
        }
    }

    /// 1 × 1 convolutions of so many channels by oneDNN, on images of bf16.
    convenience init(threads: Int, bf16Channels channels: Int) {
        let operation = Convolution(
            outputs: channels, geometry: WindowGeometry(kernel: Pair(1, 1)), groups: 1, hasBias: false, method: .oneDNN)
        let image: Shape = [32, 32, channels]
        guard
            let (passes, element) = try? operation.passes(
                input: image, samples: threads, threads: threads, precision: .bf16)
        else { preconditionFailure("a convolution without a shape") }
        let pass = passes.forward
        // The weights in oneDNN's order, which all threads read, lie in the scratch memory.
        let scratch = Self.numbers(pass.memory.total(threads: threads))
        self.init(
            threads: threads, amount: 2 * Double(image.count * channels), blocks: 2, elementCount: image.count
        ) { thread, memory in
            let scratch = PassScratch(scratch.slice().base, pass.memory, thread: thread)
            pass.forward(
                Elements(memory[0].base, element), weights: scratch.shared, bias: nil,
                into: Elements(memory[1].base, element), stride: channels, accumulate: false, lines: 0..<image[0],
                scratch: scratch
            ) { _ in }
        }
    }

    /// Copies of one block of memory to another.
    convenience init(threads: Int, copiedByteCount byteCount: Int) {
        self.init(
            threads: threads, amount: 2 * Double(byteCount), blocks: 2,
            elementCount: byteCount / MemoryLayout<Float>.stride
        ) { _, memory in memory[1].copy(from: memory[0]) }
    }

    private init(
        threads: Int, amount: Double, blocks: Int, elementCount: Int,
        work: @escaping (_ thread: Int, _ memory: [MemorySlice<Float>]) -> Void
    ) {
        self.amount = amount
        self.work = work
        memory = (0..<threads).map { _ in
            (0..<blocks).map { _ in Self.numbers(elementCount) }
        }
        bestMemory = AlignedMemory(byteCount: threads * MemoryLayout<Double>.stride)
        best = bestMemory.slice()[0..<threads]
    }

    /// Numbers of about 1, read as floats or as two bf16 each: a processor may be faster with zeros.
    private static func numbers(_ floats: Int) -> AlignedMemory {
        let memory = AlignedMemory(byteCount: floats * MemoryLayout<Float>.stride)
        let values: MemorySlice<UInt32> = memory.slice()
        for index in 0..<values.count { values[index] = 0x3f80_3f80 | UInt32(index & 0x7f) << 16 }
        return memory
    }

    /// Of all threads together, in 10⁹ a second.
    var rate: Double { best.array().reduce(0, +) }

    func run(thread: Int) {
        let slices: [MemorySlice<Float>] = memory[thread].map { $0.slice() }
        let start = monotonicNanoseconds()
        var last = start
        while last - start < Self.nanoseconds {
            work(thread, slices)
            let end = monotonicNanoseconds()
            best[thread] = max(best[thread], amount / Double(end - last))
            last = end
        }
    }
}
