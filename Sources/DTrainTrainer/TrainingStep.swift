import DTrainCollectives
import DTrainEngine
import DTrainOptimizers
import DTrainTensor

/// One update of the parameters: a rank's shards forward and backward, the exchange of gradients while backward still
/// runs, then clipping and the optimizer's pass.
///
/// `begin`, `add` once a shard, `finish`. Nothing is allocated after `init`.
package final class TrainingStep: StepContext {
    /// What a step gave; equal on all ranks but for the times.
    package struct Result {
        /// Why nothing was updated.
        package enum Refusal { case loss, gradient }
        package var refusal: Refusal?
        /// The mean loss of the global batch.
        package var loss: Double
        package var learningRate: Double
        /// The global norm before clipping; NaN where clipping is off.
        package var gradientNorm: Double
        /// Who asked to stop, on any rank.
        var stop: StopReason?
        /// What the exchange has cost; nil for one rank alone.
        package var exchange: GradientReducer.StepCost?
    }

    /// What the step does with a gradient.
    package struct Rule {
        var schedule: Schedule
        var clipNorm: Double?
        var stepsPerEpoch: Int
        /// Of the whole run.
        var totalSteps: Int
        /// Decides dropout.
        var seed: UInt64

        package init(schedule: Schedule, clipNorm: Double?, stepsPerEpoch: Int, totalSteps: Int, seed: UInt64) {
            self.schedule = schedule
            self.clipNorm = clipNorm
            self.stepsPerEpoch = stepsPerEpoch
            self.totalSteps = totalSteps
            self.seed = seed
        }
    }

    private let replica: Replica
    private let optimizer: Optimizer
    private let rule: Rule
    private let stop: StopFlag
    private let queue: CommunicationQueue
    private let group: CommunicatorGroup
    private let pool: ThreadPool
    private let tree: GradientTree
    private let norm: GradientNorm
    /// nil for one rank alone, who has nothing to exchange.
    private let reducer: GradientReducer?
    private let tailMemory: AlignedMemory
    /// Loss sum, denominator, a count for each reason to stop, and the statistics of batch-norms: what all ranks sum with the
    /// gradients.
    private let tail: MemorySlice<Double>
    private let statistics: MemorySlice<Double>
    /// Why a sum in the middle of the step failed; `finish` throws it.
    private var sumFailure: (any Error)?

    /// Told of what takes time; nil by default.
    var observer: (any StepObserver)? { didSet { replica.observer = observer } }

    /// What evaluations have made of the schedule's rate.
    var rateFactor = 1.0
    private var step = 0
    private var shard = 0

    /// - Parameters:
    ///   - shardCount: the shards of this rank.
    ///   - group: the ranks that train.
    ///   - residual: what compressed sums have left out of the gradients so far, one number a gradient; nil leaves gradients
    ///     uncompressed.
    package init(
        replica: Replica, optimizer: Optimizer, rule: Rule, shardCount: Int, queue: CommunicationQueue,
        group: CommunicatorGroup, pool: ThreadPool, stop: StopFlag, residual: MemorySlice<Float>? = nil
    ) {
        self.replica = replica
        self.optimizer = optimizer
        self.rule = rule
        self.stop = stop
        self.queue = queue
        self.group = group
        self.pool = pool
        tree = GradientTree(gradients: replica.gradients, shardCount: shardCount)
        norm = GradientNorm(count: replica.layout.trainableCount)
        let firstStatistic = 2 + StopReason.allCases.count
        let count = firstStatistic + replica.statistics.count
        tailMemory = AlignedMemory(byteCount: count * MemoryLayout<Double>.stride)
        tail = tailMemory.slice(of: Double.self)[0..<count]
        statistics = tail[firstStatistic..<count]
        reducer =
            group.size == 1
            ? nil
            : GradientReducer(
                layout: replica.layout, gradients: replica.gradients, residual: residual, tail: tail, queue: queue,
                group: group)
    }

    /// Begins the update after `step` others.
    package func begin(step: Int) {
        self.step = step
        shard = 0
        tail.fill(0)
    }

    /// Forward and backward of the next shard.
    package func add(
        _ inputs: Replica.Inputs, labels: MemorySlice<Int32>, firstPosition: Int,
        mixing: (partnerLabels: MemorySlice<Int32>, weights: MemorySlice<Float>)? = nil
    ) {
        let loss = replica.computeGradients(
            Replica.Samples(
                inputs: inputs, labels: labels, firstPosition: firstPosition, step: step, seed: rule.seed,
                mixing: mixing),
            context: self)
        for index in 0..<statistics.count { statistics[index] += replica.statistics[index] }
        tail[0] += loss.sum
        tail[1] += loss.denominator
        if shard < tree.shardCount - 1 { tree.store(shard: shard) }
        shard += 1
    }

    /// Gradients that the last shard has made final are summed with those of the shards before, and leave the rank.
    package func gradientsReady(_ range: Range<Int>) {
        guard shard == tree.shardCount - 1 else { return }
        tree.addPending(range)
        reducer?.gradientsReady(range)
    }

    /// Sums over all ranks that train, in the middle of a pass: for batch-norms whose statistics are everyone's.
    package func sum(_ values: MemorySlice<Double>) {
        guard group.size > 1, sumFailure == nil else { return }
        do { try queue.run(.allReduceSumDouble(values), in: group) } catch { sumFailure = error }
    }

    /// Completes the exchange and updates parameters and running statistics, unless loss or gradient are not finite.
    package func finish() throws -> Result {
        if let sumFailure { throw sumFailure }
        precondition(shard == tree.shardCount, "a step of \(shard) shards, made for \(tree.shardCount)")
        if let reason = stop.reason { tail[2 + reason.rawValue] = 1 }
        let exchangeStart = startTime
        let exchange = try reducer?.finish()
        observer?.ran(.exchange, from: exchangeStart, to: monotonicNanoseconds())
        var result = Result(
            loss: tail[0] / tail[1],
            learningRate: rateFactor
                * rule.schedule.rate(atStep: step, stepsPerEpoch: rule.stepsPerEpoch, totalSteps: rule.totalSteps),
            gradientNorm: .nan, stop: stopReason(), exchange: exchange)
        guard result.loss.isFinite else {
            result.refusal = .loss
            return result
        }
        let updateStart = startTime
        var scale = 1 / tail[1]
        if let limit = rule.clipNorm {
            result.gradientNorm = norm.norm(of: replica.gradients, scale: scale, pool: pool)
            guard result.gradientNorm.isFinite else {
                result.refusal = .gradient
                return result
            }
            scale *= GradientNorm.clipFactor(norm: result.gradientNorm, limit: limit)
        }
        optimizer.update(
            parameters: replica.parameters, gradients: replica.gradients, rate: result.learningRate,
            gradientScale: scale, step: step, pool: pool)
        replica.updateRunningStatistics(with: statistics)
        observer?.ran(.optimizer, from: updateStart, to: monotonicNanoseconds())
        return result
    }

    /// When a part starts; nobody looks at the clock where nobody asks.
    private var startTime: Int { observer == nil ? 0 : monotonicNanoseconds() }

    private func stopReason() -> StopReason? {
        for index in 2..<tail.count - statistics.count where tail[index] > 0 { return StopReason(rawValue: index - 2) }
        return nil
    }
}
