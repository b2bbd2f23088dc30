internal import CKernels
import DTrainTensor

/// The global norm of an arena's gradients, for clipping and for finding values that are not finite.
///
/// Blocks of 4,096 elements are summed in double, then the blocks in order: the same bits whatever the number of
/// threads. Memory for the blocks is allocated once. One thread uses it at a time.
public final class GradientNorm: @unchecked Sendable {
    private static let blockSize = 4096

    private let count: Int
    private let memory: AlignedMemory
    private let blocks: MemorySlice<Double>
    private let task = SumTask()

    /// For gradient arenas of `count` elements (`ParameterLayout.trainableCount`).
    public init(count: Int) {
        self.count = count
        let blockCount = (count + Self.blockSize - 1) / Self.blockSize
        memory = AlignedMemory(byteCount: blockCount * MemoryLayout<Double>.stride)
        blocks = memory.slice(of: Double.self)[0..<blockCount]
    }

    /// √Σ(scale·gradient)², with `scale` = 1 / denominator. It is infinite or NaN where a gradient is.
    public func norm(of gradients: MemorySlice<Float>, scale: Double, pool: ThreadPool) -> Double {
        precondition(gradients.count == count, "the norm of \(gradients.count) gradients, made for \(count)")
        (task.pool, task.gradients, task.blocks) = (pool, gradients, blocks)
        pool.run(task)
        var sum = 0.0
        for block in 0..<blocks.count { sum += blocks[block] }
        return scale * sum.squareRoot()
    }

    /// The sums of squares of the blocks, each thread its part of them.
    private final class SumTask: PoolTask {
        var pool: ThreadPool!
        var gradients: MemorySlice<Float>!
        var blocks: MemorySlice<Double>!

        func run(thread: Int) {
            for block in pool.part(thread, of: blocks.count) {
                let start = block * GradientNorm.blockSize
                blocks[block] = dt_square_sum(
                    min(GradientNorm.blockSize, gradients.count - start), gradients.base + start)
            }
        }
    }

    /// What gradients of this `norm` are multiplied by so that their norm is at most `limit`:
    /// min(1, limit / (norm + 1e-6)), as `torch.nn.utils.clip_grad_norm_`. NaN for a norm of NaN.
    public static func clipFactor(norm: Double, limit: Double) -> Double {
        let factor = limit / (norm + 1e-6)
        return factor > 1 ? 1 : factor
    }

    /// Whether every gradient is finite, where no norm is needed.
    public static func isFinite(_ gradients: MemorySlice<Float>) -> Bool {
        dt_all_finite(gradients.count, gradients.base)
    }
}
