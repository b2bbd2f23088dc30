public import DTrainTensor

/// What this machine reaches, measured: the yardstick of a step's speed.
public struct MachinePeak: Sendable, Equatable, Codable {
    /// 10⁹ floating-point operations a second of fp32 matrix products that fit the caches.
    public var gflops: Double
    /// 10⁹ bytes a second, read and written, of a copy that is far larger than the caches.
    public var gigabytesPerSecond: Double

    public init(gflops: Double, gigabytesPerSecond: Double) {
        self.gflops = gflops
        self.gigabytesPerSecond = gigabytesPerSecond
    }

    /// Measures for less than half a second, with all threads of `pool` at once; of several stretches of time the best one
    /// counts. To measure with other ranks, let all of them call it at the same moment and add the results.
    ///
    /// - Parameter sharers: the ranks on this machine. Together they copy 128 MB, or 16 MB a thread where that is more.
    public static func measure(pool: ThreadPool, sharers: Int = 1) -> MachinePeak {
        _ = GEMM.prepare
        let products = Stretches(threads: pool.threadCount, matrixExtent: 768)
        pool.run(products)
        let copies = Stretches(
            threads: pool.threadCount, copiedByteCount: max((128 << 20) / (sharers * pool.threadCount), 16 << 20))
        pool.run(copies)
        return MachinePeak(gflops: products.rate, gigabytesPerSecond: copies.rate)
    }
}

/// One piece of work that each thread repeats in stretches of time, on memory of its own. A stretch is long enough that
/// threads which share a core share it within each of them.
private final class Stretches: PoolTask {
    private static let count = 4
    private static let nanoseconds = 40_000_000

    /// What one repetition does: operations, or bytes.
    private let amount: Double
    private let work: (_ memory: [MemorySlice<Float>]) -> Void
    private let memory: [[AlignedMemory]]
    private let bestMemory: AlignedMemory
    private let best: MemorySlice<Double>

    /// Products of two square matrices.
    convenience init(threads: Int, matrixExtent extent: Int) {
        self.init(
            threads: threads, amount: 2 * Double(extent * extent * extent), blocks: 3, elementCount: extent * extent
        ) { memory in
            GEMM.multiply(
                .no, .no, m: extent, n: extent, k: extent, a: memory[0].base, lda: extent, b: memory[1].base,
                ldb: extent, beta: 0, c: memory[2].base, ldc: extent)
        }
    }

    /// Copies of one block of memory to another.
    convenience init(threads: Int, copiedByteCount byteCount: Int) {
        self.init(
            threads: threads, amount: 2 * Double(byteCount), blocks: 2,
            elementCount: byteCount / MemoryLayout<Float>.stride
        ) { memory in memory[1].base.update(from: memory[0].base, count: memory[0].count) }
    }

    private init(
        threads: Int, amount: Double, blocks: Int, elementCount: Int,
        work: @escaping (_ memory: [MemorySlice<Float>]) -> Void
    ) {
        self.amount = amount
        self.work = work
        memory = (0..<threads).map { _ in
            (0..<blocks).map { _ in AlignedMemory(byteCount: elementCount * MemoryLayout<Float>.stride) }
        }
        bestMemory = AlignedMemory(byteCount: threads * MemoryLayout<Double>.stride)
        best = bestMemory.slice()[0..<threads]
    }

    /// Of all threads together, in 10⁹ a second.
    var rate: Double { best.array().reduce(0, +) }

    func run(thread: Int) {
        let slices: [MemorySlice<Float>] = memory[thread].map { $0.slice() }
        work(slices)
        for _ in 0..<Self.count {
            let start = monotonicNanoseconds()
            var (repetitions, elapsed) = (0, 0)
            while elapsed < Self.nanoseconds {
                work(slices)
                repetitions += 1
                elapsed = monotonicNanoseconds() - start
            }
            best[thread] = max(best[thread], amount * Double(repetitions) / Double(elapsed))
        }
    }
}
