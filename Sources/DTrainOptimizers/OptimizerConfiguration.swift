/// An update rule with its hyper-parameters; rules and defaults are those of `torch.optim` where it has the rule.
///
/// Below, g is the gradient (a mean over samples), p the parameter, t the number of the update, counted from 1. Weights
/// are parameters of two dimensions or more; the others are biases and normalisations' scales and shifts.
public enum OptimizerConfiguration: Hashable, Sendable, Codable {
    /// g += weightDecay·p; b = momentum·b + g (b = g at the first update); p -= rate·b.
    /// With Nesterov p -= rate·(g + momentum·b); without momentum p -= rate·g. (`torch.optim.SGD`, dampening 0.)
    case sgd(momentum: Double = 0, nesterov: Bool = false, weightDecay: Double = 0)

    /// g += weightDecay·p; m = beta1·m + (1 − beta1)·g; v = beta2·v + (1 − beta2)·g²;
    /// p -= rate · m/(1 − beta1ᵗ) / (√(v/(1 − beta2ᵗ)) + epsilon). (Kingma and Ba 2014; `torch.optim.Adam`.)
    case adam(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 0)

    /// Adam whose decay does not pass through the gradient: p *= 1 − rate·weightDecay, then Adam's update without
    /// decay. (Loshchilov and Hutter 2017; `torch.optim.AdamW`.)
    case adamW(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 0.01)

    /// g += weightDecay·p; s = alpha·s + (1 − alpha)·g²; d = g / (√s + epsilon); p -= rate·d, or with momentum
    /// b = momentum·b + d; p -= rate·b. Centred, a = alpha·a + (1 − alpha)·g and s − a² takes the place of s under the
    /// root. (Hinton 2012, Graves 2013; `torch.optim.RMSprop`, but s − a² is never below 0, where PyTorch gives NaN.)
    case rmsProp(
        alpha: Double = 0.99, epsilon: Double = 1e-8, momentum: Double = 0, centered: Bool = false,
        weightDecay: Double = 0)

    /// g += weightDecay·p; s += g² (s = initialAccumulator before the first update);
    /// p -= rate/(1 + (t − 1)·rateDecay) · g / (√s + epsilon). (Duchi et al. 2011; `torch.optim.Adagrad`.)
    case adagrad(
        rateDecay: Double = 0, initialAccumulator: Double = 0, epsilon: Double = 1e-10, weightDecay: Double = 0)

    /// SGD whose gradient is rescaled for each weight: b = momentum·b + λ·(g + weightDecay·p); p -= rate·b, or with
    /// Nesterov p -= rate·(λ·(g + weightDecay·p) + momentum·b). The trust ratio is
    /// λ = trustCoefficient·‖p‖ / (‖g‖ + weightDecay·‖p‖ + epsilon), and 1 where ‖p‖ or ‖g‖ is 0 and for parameters that
    /// are not weights. (You et al. 2017; the rate stands outside the momentum, as in SGD here and in common
    /// implementations.)
    case lars(
        momentum: Double = 0.9, nesterov: Bool = false, trustCoefficient: Double = 0.001, epsilon: Double = 1e-8,
        weightDecay: Double = 0)

    /// AdamW whose step is rescaled for each weight: r = m/(1 − beta1ᵗ) / (√(v/(1 − beta2ᵗ)) + epsilon) + weightDecay·p
    /// with Adam's m and v; p -= rate·λ·r. The trust ratio is λ = ‖p‖ / ‖r‖, and 1 where ‖p‖ or ‖r‖ is 0 and for
    /// parameters that are not weights. (You et al. 2019, with bias correction and φ(z) = z.)
    case lamb(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-6, weightDecay: Double = 0.01)

    /// The state kept for each parameter, named as PyTorch names it.
    public var stateNames: [String] {
        switch self {
        case .sgd(let momentum, _, _), .lars(let momentum, _, _, _, _): momentum == 0 ? [] : ["momentum_buffer"]
        case .adam, .adamW, .lamb: ["exp_avg", "exp_avg_sq"]
        case .rmsProp(_, _, let momentum, let centered, _):
            ["square_avg"] + (centered ? ["grad_avg"] : []) + (momentum == 0 ? [] : ["momentum_buffer"])
        case .adagrad: ["sum"]
        }
    }

    /// Whether each weight has a trust ratio.
    var hasTrustRatios: Bool {
        switch self {
        case .lars, .lamb: true
        default: false
        }
    }

    /// Throws when a hyper-parameter lies outside the range in which the rule is defined.
    public func validate() throws(OptimizerConfigurationError) {
        func check(_ name: String, _ value: Double, _ valid: Bool, _ range: String) throws(OptimizerConfigurationError)
        {
            guard valid else { throw .outOfRange(name: name, value: value, range: range) }
        }
        func checkFraction(_ name: String, _ value: Double) throws(OptimizerConfigurationError) {
            try check(name, value, value >= 0 && value < 1, "0 ≤ \(name) < 1")
        }
        func checkNonNegative(_ name: String, _ value: Double) throws(OptimizerConfigurationError) {
            try check(name, value, value >= 0 && value.isFinite, "at least 0")
        }
        // PyTorch allows 0; here it would turn the padding between parameters into 0/0.
        func checkEpsilon(_ value: Double) throws(OptimizerConfigurationError) {
            try check("epsilon", value, value >= 1e-30 && value.isFinite, "at least 1e-30")
        }
        func checkMomentum(_ momentum: Double, _ nesterov: Bool) throws(OptimizerConfigurationError) {
            try checkFraction("momentum", momentum)
            if nesterov && momentum == 0 { throw .nesterovWithoutMomentum }
        }
        switch self {
        case .sgd(let momentum, let nesterov, let weightDecay):
            try checkMomentum(momentum, nesterov)
            try checkNonNegative("weight decay", weightDecay)
        case .adam(let beta1, let beta2, let epsilon, let weightDecay),
            .adamW(let beta1, let beta2, let epsilon, let weightDecay),
            .lamb(let beta1, let beta2, let epsilon, let weightDecay):
            try checkFraction("beta1", beta1)
            try checkFraction("beta2", beta2)
            try checkEpsilon(epsilon)
            try checkNonNegative("weight decay", weightDecay)
        case .rmsProp(let alpha, let epsilon, let momentum, _, let weightDecay):
            try checkFraction("alpha", alpha)
            try checkEpsilon(epsilon)
            try checkMomentum(momentum, false)
            try checkNonNegative("weight decay", weightDecay)
        case .adagrad(let rateDecay, let initialAccumulator, let epsilon, let weightDecay):
            try checkNonNegative("rate decay", rateDecay)
            try checkNonNegative("initial accumulator", initialAccumulator)
            try checkEpsilon(epsilon)
            try checkNonNegative("weight decay", weightDecay)
        case .lars(let momentum, let nesterov, let trustCoefficient, let epsilon, let weightDecay):
            try checkMomentum(momentum, nesterov)
            try check(
                "trust coefficient", trustCoefficient, trustCoefficient > 0 && trustCoefficient.isFinite, "above 0")
            try checkEpsilon(epsilon)
            try checkNonNegative("weight decay", weightDecay)
        }
    }
}

extension OptimizerConfiguration: CustomStringConvertible {
    /// `sgd(momentum 0.9, nesterov, weight decay 0.0001)`.
    public var description: String {
        switch self {
        case .sgd(let momentum, let nesterov, let weightDecay):
            "sgd(momentum \(momentum)\(nesterov ? ", nesterov" : ""), weight decay \(weightDecay))"
        case .adam(let beta1, let beta2, let epsilon, let weightDecay):
            "adam(betas \(beta1) \(beta2), epsilon \(epsilon), weight decay \(weightDecay))"
        case .adamW(let beta1, let beta2, let epsilon, let weightDecay):
            "adamw(betas \(beta1) \(beta2), epsilon \(epsilon), weight decay \(weightDecay))"
        case .rmsProp(let alpha, let epsilon, let momentum, let centered, let weightDecay):
            "rmsprop(alpha \(alpha), epsilon \(epsilon), momentum \(momentum)\(centered ? ", centered" : ""), "
                + "weight decay \(weightDecay))"
        case .adagrad(let rateDecay, let initialAccumulator, let epsilon, let weightDecay):
            "adagrad(rate decay \(rateDecay), initial accumulator \(initialAccumulator), epsilon \(epsilon), "
                + "weight decay \(weightDecay))"
        case .lars(let momentum, let nesterov, let trustCoefficient, let epsilon, let weightDecay):
            "lars(momentum \(momentum)\(nesterov ? ", nesterov" : ""), trust coefficient \(trustCoefficient), "
                + "epsilon \(epsilon), weight decay \(weightDecay))"
        case .lamb(let beta1, let beta2, let epsilon, let weightDecay):
            "lamb(betas \(beta1) \(beta2), epsilon \(epsilon), weight decay \(weightDecay))"
        }
    }
}

/// A hyper-parameter that its rule is not defined for.
public enum OptimizerConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    case outOfRange(name: String, value: Double, range: String)
    case nesterovWithoutMomentum

    public var description: String {
        switch self {
        case .outOfRange(let name, let value, let range): "\(name) is \(value), must be \(range)"
        case .nesterovWithoutMomentum: "nesterov needs momentum: set a momentum above 0, for example 0.9"
        }
    }
}
