internal import CKernels
import DTrainTensor

/// The trust ratios of LARS and LAMB: one for each run of an arena, from norms over the whole parameter.
///
/// A reduction of its own before the update: blocks of 4,096 elements, of one parameter each, are summed in double, then
/// the blocks of a parameter in order. So the bits do not depend on the number of threads. Nothing is allocated after
/// `init`. One thread uses it at a time.
final class TrustRatios: @unchecked Sendable {
    /// What a ratio is made of; formulas in `OptimizerConfiguration`.
    enum Rule {
        case lars(coefficient: Double, epsilon: Double, weightDecay: Double, gradientScale: Double)
        /// The scalars' `step_size` is 1 / (1 − beta1ᵗ).
        case lamb(
            dt_adam_scalars, weightDecay: Double, firstMoment: MemorySlice<Float>, secondMoment: MemorySlice<Float>)
    }

    private static let blockSize = 4096

    private struct Block {
        let run: Int
        let range: Range<Int>
    }

    private let blocks: [Block]
    private let memory: AlignedMemory
    /// Two sums of squares a block: the parameter's, and the gradient's or the direction's.
    private let sums: MemorySlice<Double>
    private let ratios: MemorySlice<Double>
    private let task = SumTask()

    init(_ runs: [ParameterRuns.Run]) {
        var blocks: [Block] = []
        for (index, run) in runs.enumerated() where run.isWeight {
            for start in stride(from: run.content.lowerBound, to: run.content.upperBound, by: Self.blockSize) {
                blocks.append(
                    Block(run: index, range: start..<min(start + Self.blockSize, run.content.upperBound)))
            }
        }
        self.blocks = blocks
        memory = AlignedMemory(byteCount: (2 * blocks.count + runs.count) * MemoryLayout<Double>.stride)
        let values = memory.slice(of: Double.self)
        sums = values[0..<2 * blocks.count]
        ratios = values[2 * blocks.count..<2 * blocks.count + runs.count]
        ratios.fill(1)
    }

    subscript(run: Int) -> Double { ratios[run] }

    /// Computes the ratios of the coming update. `parameters` and `gradients` are arenas from their start.
    func measure(_ rule: Rule, parameters: MemorySlice<Float>, gradients: MemorySlice<Float>, pool: ThreadPool) {
        task.ratios = self
        (task.rule, task.parameters, task.gradients, task.pool) = (rule, parameters, gradients, pool)
        pool.run(task)
        task.ratios = nil
        var block = 0
        while block < blocks.count {
            let run = blocks[block].run
            var (parameterSum, otherSum) = (0.0, 0.0)
            while block < blocks.count && blocks[block].run == run {
                parameterSum += sums[2 * block]
                otherSum += sums[2 * block + 1]
                block += 1
            }
            ratios[run] = Self.ratio(rule, parameterSum.squareRoot(), otherSum.squareRoot())
        }
    }

    private static func ratio(_ rule: Rule, _ parameterNorm: Double, _ otherNorm: Double) -> Double {
        // Not `> 0`, which would hide a NaN behind a ratio of 1.
        if parameterNorm == 0 || otherNorm == 0 { return 1 }
        switch rule {
        case .lars(let coefficient, let epsilon, let weightDecay, let gradientScale):
            return coefficient * parameterNorm / (gradientScale * otherNorm + weightDecay * parameterNorm + epsilon)
        case .lamb: return parameterNorm / otherNorm
        }
    }

    /// The sums of the blocks, each thread its part of them.
    private final class SumTask: PoolTask {
        var ratios: TrustRatios!
        var rule: Rule!
        var pool: ThreadPool!
        var parameters: MemorySlice<Float>!
        var gradients: MemorySlice<Float>!

        func run(thread: Int) {
            let ratios = ratios!
            for block in pool.part(thread, of: ratios.blocks.count) {
                let range = ratios.blocks[block].range
                let sums = ratios.sums.base + 2 * block
                let (p, g) = (parameters.base + range.lowerBound, gradients.base + range.lowerBound)
                switch rule! {
                case .lars:
                    sums[0] = dt_square_sum(range.count, p)
                    sums[1] = dt_square_sum(range.count, g)
                case .lamb(var scalars, let weightDecay, let first, let second):
                    dt_lamb_square_sums(
                        range.count, p, g, first.base + range.lowerBound, second.base + range.lowerBound,
                        Float(weightDecay), &scalars, sums)
                }
            }
        }
    }
}
