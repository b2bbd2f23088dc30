internal import CKernels
import DTrainTensor

/// An update rule and its state: flat arenas with the offsets of the trainable parameters.
///
/// An element’s update depends on that element alone and, with LARS and LAMB, on its parameter's trust ratio, which is
/// measured before. So the arena may be updated whole, by buckets or by threads with the same bits. Updating allocates
/// nothing. Disjoint ranges may be updated at the same time by several threads; measuring, the update over a whole pool
/// and the state by name are one thread's business at a time.
public final class Optimizer: @unchecked Sendable {
    public let configuration: OptimizerConfiguration
    public let decay: DecayScope
    /// What average of the weights is kept, as the last of the states; nil for none.
    public let averaging: WeightAveraging?
    let layout: ParameterLayout
    /// Each rule's own state in the order of its `stateNames`, then the average.
    let states: [MemorySlice<Float>]
    private let arenas: [AlignedMemory]
    private let runs: ParameterRuns
    private let trust: TrustRatios?
    private let task = UpdateTask()

    /// Elements that are averaged right after their update, while a core's cache holds them: one pass over memory.
    private static let blockSize = 8192

    /// The state before the first update of the trainable part of `layout`.
    ///
    /// - Parameters:
    ///   - decay: the parameters that weight decay applies to.
    ///   - averaging: keeps an average of the weights.
    public init(
        _ configuration: OptimizerConfiguration, decay: DecayScope = .all, averaging: WeightAveraging? = nil,
        layout: ParameterLayout
    ) throws(OptimizerConfigurationError) {
        try configuration.validate()
        try averaging?.validate()
        self.configuration = configuration
        self.decay = decay
        self.averaging = averaging
        self.layout = layout
        runs = ParameterRuns(layout, decay: decay, separate: configuration.hasTrustRatios)
        trust = configuration.hasTrustRatios ? TrustRatios(runs.runs) : nil
        let byteCount = layout.trainableCount * MemoryLayout<Float>.stride
        let count = configuration.stateNames.count + (averaging == nil ? 0 : 1)
        arenas = (0..<count).map { _ in AlignedMemory(byteCount: byteCount) }
        states = arenas.map { $0.slice() }
        if case .adagrad(_, let initial, _, _) = configuration {
            for run in ParameterRuns(layout, decay: .all, separate: true).runs {
                states[0][run.content].fill(Float(initial))
            }
        }
    }

    /// An optimizer of the same rule for the same parameters, before its first update.
    public convenience init(like other: Optimizer) throws(OptimizerConfigurationError) {
        try self.init(other.configuration, decay: other.decay, averaging: other.averaging, layout: other.layout)
    }

    /// What each parameter's states are called: the rule's own names, then `average`.
    var stateNames: [String] { configuration.stateNames + (averaging == nil ? [] : [NamedArena.averageName]) }

    /// Measures the trust ratios that the coming update needs; with rules that have none it does nothing. The parameters
    /// are those of `update`.
    public func measureTrust(
        parameters: MemorySlice<Float>, gradients: MemorySlice<Float>, gradientScale: Double, step: Int,
        pool: ThreadPool
    ) {
        switch configuration {
        case .lars(_, _, let coefficient, let epsilon, let weightDecay):
            trust!.measure(
                .lars(
                    coefficient: coefficient, epsilon: epsilon, weightDecay: weightDecay, gradientScale: gradientScale),
                parameters: parameters, gradients: gradients, pool: pool)
        case .lamb(let beta1, let beta2, let epsilon, let weightDecay):
            let scalars = dt_adam_scalars(beta1, beta2, epsilon, rate: 1, gradientScale: gradientScale, step: step)
            trust!.measure(
                .lamb(scalars, weightDecay: weightDecay, firstMoment: states[0], secondMoment: states[1]),
                parameters: parameters, gradients: gradients, pool: pool)
        default: break
        }
    }

    /// Updates the parameters of `range`; with LARS and LAMB, after `measureTrust` with the same arguments.
    ///
    /// - Parameters:
    ///   - range: elements of the arena's trainable part.
    ///   - parameters: the arena from its start.
    ///   - gradients: sums over samples, an arena from its start with the same offsets; they are left unchanged.
    ///   - rate: the learning rate of this step.
    ///   - gradientScale: what a gradient is multiplied by before anything else: 1 / denominator × clip factor.
    ///   - step: the number of updates made before this one, 0 at the first.
    public func update(
        _ range: Range<Int>, parameters: MemorySlice<Float>, gradients: MemorySlice<Float>, rate: Double,
        gradientScale: Double, step: Int
    ) {
        precondition(range.lowerBound >= 0 && range.upperBound <= layout.trainableCount, "update outside the arena")
        precondition(range.upperBound <= parameters.count && range.upperBound <= gradients.count)
        let newWeight = averaging.map { Float($0.newWeight(atStep: step)) }
        var start = range.lowerBound
        var index = runs.index(of: start)
        while start < range.upperBound {
            let run = runs.runs[index]
            var end = min(range.upperBound, run.range.upperBound)
            if newWeight != nil { end = min(end, start + Self.blockSize) }
            apply(
                ElementUpdate(
                    offset: start, count: end - start, p: parameters.base + start, g: gradients.base + start,
                    rate: rate,
                    gradientScale: gradientScale, step: step, decays: run.decays, trust: trust?[index] ?? 1))
            if let newWeight {
                dt_average_update(end - start, states.last!.base + start, parameters.base + start, newWeight)
            }
            start = end
            if end == run.range.upperBound { index += 1 }
        }
    }

    /// Updates the whole trainable part, split over the threads of `pool`; the parameters are as above.
    public func update(
        parameters: MemorySlice<Float>, gradients: MemorySlice<Float>, rate: Double, gradientScale: Double, step: Int,
        pool: ThreadPool
    ) {
        measureTrust(
            parameters: parameters, gradients: gradients, gradientScale: gradientScale, step: step, pool: pool)
        task.optimizer = self
        task.pool = pool
        task.parameters = parameters
        task.gradients = gradients
        (task.rate, task.gradientScale, task.step) = (rate, gradientScale, step)
        pool.run(task)
        task.optimizer = nil
    }

    /// An update that all threads make together, each in its part of the arena.
    private final class UpdateTask: PoolTask {
        var optimizer: Optimizer!
        var pool: ThreadPool!
        var parameters: MemorySlice<Float>!
        var gradients: MemorySlice<Float>!
        var (rate, gradientScale, step) = (0.0, 0.0, 0)

        func run(thread: Int) {
            let part = pool.part(thread, of: optimizer.layout.trainableCount, granularity: ParameterLayout.alignment)
            optimizer.update(
                part, parameters: parameters, gradients: gradients, rate: rate, gradientScale: gradientScale, step: step
            )
        }
    }
}
