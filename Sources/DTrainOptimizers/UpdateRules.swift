internal import CKernels
import DTrainTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Consecutive elements of the arena that are updated with the same scalars.
struct ElementUpdate {
    let offset: Int
    let count: Int
    let p: UnsafeMutablePointer<Float>
    let g: UnsafeMutablePointer<Float>
    let rate: Double
    let gradientScale: Double
    /// Updates made before.
    let step: Int
    let decays: Bool
    let trust: Double
}

extension Optimizer {
    /// The rule's kernel on one run of elements.
    func apply(_ u: ElementUpdate) {
        func state(_ index: Int) -> UnsafeMutablePointer<Float> { states[index].base + u.offset }
        func sgd(momentum: Double, nesterov: Bool, weightDecay: Double, gradientScale: Double) {
            let decay = u.decays ? Float(weightDecay) : 0
            if momentum == 0 {
                dt_sgd_update(u.count, u.p, u.g, Float(u.rate), decay, Float(gradientScale))
            } else {
                // A buffer of zeros gives PyTorch's first step by itself: momentum · 0 + g = g.
                dt_sgd_momentum_update(
                    u.count, u.p, u.g, state(0), Float(u.rate), Float(momentum), nesterov, decay, Float(gradientScale))
            }
        }
        switch configuration {
        case .sgd(let momentum, let nesterov, let weightDecay):
            sgd(momentum: momentum, nesterov: nesterov, weightDecay: weightDecay, gradientScale: u.gradientScale)
        case .lars(let momentum, let nesterov, _, _, let weightDecay):
            // λ·(g + weightDecay·p) is SGD's gradient with both factors scaled.
            sgd(
                momentum: momentum, nesterov: nesterov, weightDecay: u.trust * weightDecay,
                gradientScale: u.trust * u.gradientScale)
        case .adam(let beta1, let beta2, let epsilon, let weightDecay):
            var scalars = dt_adam_scalars(
                beta1, beta2, epsilon, rate: u.rate, gradientScale: u.gradientScale, step: u.step)
            scalars.coupled_decay = u.decays ? Float(weightDecay) : 0
            dt_adam_update(u.count, u.p, u.g, state(0), state(1), &scalars)
        case .adamW(let beta1, let beta2, let epsilon, let weightDecay),
            .lamb(let beta1, let beta2, let epsilon, let weightDecay):
            // rate·λ·(d + weightDecay·p), d being Adam's direction, is AdamW's step at the rate rate·λ.
            let rate = u.rate * u.trust
            var scalars = dt_adam_scalars(
                beta1, beta2, epsilon, rate: rate, gradientScale: u.gradientScale, step: u.step)
            scalars.parameter_factor = u.decays ? Float(1 - rate * weightDecay) : 1
            dt_adam_update(u.count, u.p, u.g, state(0), state(1), &scalars)
        case .rmsProp(let alpha, let epsilon, let momentum, let centered, let weightDecay):
            var scalars = dt_rmsprop_scalars(
                gradient_scale: Float(u.gradientScale), weight_decay: u.decays ? Float(weightDecay) : 0,
                rate: Float(u.rate), alpha: Float(alpha), new_weight: Float(1 - alpha), momentum: Float(momentum),
                epsilon: Float(epsilon))
            dt_rmsprop_update(
                u.count, u.p, u.g, state(0), centered ? state(1) : nil,
                momentum == 0 ? nil : state(centered ? 2 : 1), &scalars)
        case .adagrad(let rateDecay, _, let epsilon, let weightDecay):
            dt_adagrad_update(
                u.count, u.p, u.g, state(0), Float(u.rate / (1 + Double(u.step) * rateDecay)),
                u.decays ? Float(weightDecay) : 0, Float(u.gradientScale), Float(epsilon))
        }
    }
}

extension dt_adam_scalars {
    /// The scalars of update `step` + 1 without decay.
    init(_ beta1: Double, _ beta2: Double, _ epsilon: Double, rate: Double, gradientScale: Double, step: Int) {
        let t = Double(step + 1)
        self.init(
            gradient_scale: Float(gradientScale), coupled_decay: 0, parameter_factor: 1,
            first_weight: Float(1 - beta1), beta2: Float(beta2), second_weight: Float(1 - beta2),
            step_size: Float(rate / (1 - pow(beta1, t))), second_correction: Float((1 - pow(beta2, t)).squareRoot()),
            epsilon: Float(epsilon))
    }
}
