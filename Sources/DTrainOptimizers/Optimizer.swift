internal import CKernels
import DTrainTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// An update rule and its state: flat arenas with the offsets of the trainable parameters.
///
/// An element’s update depends on that element alone, so the arena may be updated whole, by buckets or by threads
/// with the same bits. Updating allocates nothing. Disjoint ranges may be updated at the same time by several threads;
/// the update over a whole pool and the state by name are one thread's business at a time.
public final class Optimizer: @unchecked Sendable {
    public let configuration: OptimizerConfiguration
    private let layout: ParameterLayout
    private let arenas: [AlignedMemory]
    private let states: [MemorySlice<Float>]
    private let task = UpdateTask()

    /// State of zeros for the trainable part of `layout`.
    public init(_ configuration: OptimizerConfiguration, layout: ParameterLayout) throws(OptimizerConfigurationError) {
        try configuration.validate()
        self.configuration = configuration
        self.layout = layout
        let byteCount = layout.trainableCount * MemoryLayout<Float>.stride
        arenas = configuration.stateNames.map { _ in AlignedMemory(byteCount: byteCount) }
        states = arenas.map { $0.slice() }
    }

    /// Updates the parameters of `range`.
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
        let count = range.count
        let offset = range.lowerBound
        let p = parameters.base + offset
        let g = gradients.base + offset
        switch configuration {
        case .sgd(0, _, let weightDecay):
            dt_sgd_update(count, p, g, Float(rate), Float(weightDecay), Float(gradientScale))
        case .sgd(let momentum, let nesterov, let weightDecay):
            // A buffer of zeros gives PyTorch's first step by itself: momentum · 0 + g = g.
            dt_sgd_momentum_update(
                count, p, g, states[0].base + offset, Float(rate), Float(momentum), nesterov, Float(weightDecay),
                Float(gradientScale))
        case .adam(let beta1, let beta2, let epsilon, let weightDecay):
            var scalars = Self.scalars(beta1, beta2, epsilon, rate: rate, gradientScale: gradientScale, step: step)
            scalars.coupled_decay = Float(weightDecay)
            dt_adam_update(count, p, g, states[0].base + offset, states[1].base + offset, &scalars)
        case .adamW(let beta1, let beta2, let epsilon, let weightDecay):
            var scalars = Self.scalars(beta1, beta2, epsilon, rate: rate, gradientScale: gradientScale, step: step)
            scalars.parameter_factor = Float(1 - rate * weightDecay)
            dt_adam_update(count, p, g, states[0].base + offset, states[1].base + offset, &scalars)
        }
    }

    /// Updates the whole trainable part, split over the threads of `pool`; the parameters are as above.
    public func update(
        parameters: MemorySlice<Float>, gradients: MemorySlice<Float>, rate: Double, gradientScale: Double, step: Int,
        pool: ThreadPool
    ) {
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

    /// The scalars of update `step` + 1 without decay.
    private static func scalars(
        _ beta1: Double, _ beta2: Double, _ epsilon: Double, rate: Double, gradientScale: Double, step: Int
    ) -> dt_adam_scalars {
        let t = Double(step + 1)
        return dt_adam_scalars(
            gradient_scale: Float(gradientScale), coupled_decay: 0, parameter_factor: 1,
            first_weight: Float(1 - beta1), beta2: Float(beta2), second_weight: Float(1 - beta2),
            step_size: Float(rate / (1 - pow(beta1, t))), second_correction: Float((1 - pow(beta2, t)).squareRoot()),
            epsilon: Float(epsilon))
    }

    // MARK: State

    /// The state as it lies in memory, in the order of `stateNames`: for copies and broadcasts between equal layouts.
    package var stateArenas: [MemorySlice<Float>] { states.map { $0[0..<layout.trainableCount] } }

    /// The name of the scalar that goes with the state: the number of updates that made it (I64).
    public static let stepName = "step"

    private var namedStates: [NamedArena] {
        zip(configuration.stateNames, states).map { NamedArena(layout, $1, suffix: "." + $0) }
    }

    /// Copies of the state, `conv1.weight.momentum_buffer` in PyTorch's shape and order, and the scalar `step`, the
    /// number of updates made.
    public func stateTensors(step: Int) -> [NamedTensor] {
        let scalar = NamedTensor(name: Self.stepName, dtype: .int64, shape: [])
        scalar.memory.slice(of: Int64.self)[0] = Int64(step)
        return namedStates.flatMap { $0.tensors() } + [scalar]
    }

    /// Takes over the state that `stateTensors` gave, also that of another layout of the same parameters.
    ///
    /// Returns the number of updates that made it. All names and shapes must match; otherwise the state is unchanged.
    @discardableResult
    public func load(_ tensors: [NamedTensor]) throws(TensorMismatch) -> Int {
        let isStep = { (tensor: NamedTensor) in
            tensor.name == Self.stepName && tensor.dtype == .int64 && tensor.shape.rank == 0
        }
        guard let scalar = tensors.first(where: isStep) else {
            throw TensorMismatch(expected: [(Self.stepName, [], .int64)], found: [])
        }
        try NamedArena.fill(namedStates, from: tensors.filter { !isStep($0) })
        return Int(scalar.memory.slice(of: Int64.self)[0])
    }
}
