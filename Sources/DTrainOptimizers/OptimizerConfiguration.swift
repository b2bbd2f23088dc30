/// An update rule with its hyper-parameters; rules and defaults are those of `torch.optim`.
///
/// Below, g is the gradient (a mean over samples), p the parameter, t the number of the update, counted from 1.
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

    /// The state kept for each parameter, named as PyTorch names it.
    public var stateNames: [String] {
        switch self {
        case .sgd(let momentum, _, _): momentum == 0 ? [] : ["momentum_buffer"]
        case .adam, .adamW: ["exp_avg", "exp_avg_sq"]
        }
    }

    /// Throws when a hyper-parameter lies outside the range in which the rule is defined.
    public func validate() throws(OptimizerConfigurationError) {
        func check(_ name: String, _ value: Double, _ valid: Bool, _ range: String) throws(OptimizerConfigurationError)
        {
            guard valid else { throw .outOfRange(name: name, value: value, range: range) }
        }
        switch self {
        case .sgd(let momentum, let nesterov, let weightDecay):
            try check("momentum", momentum, momentum >= 0 && momentum < 1, "0 ≤ momentum < 1")
            try check("weight decay", weightDecay, weightDecay >= 0 && weightDecay.isFinite, "at least 0")
            if nesterov && momentum == 0 { throw .nesterovWithoutMomentum }
        case .adam(let beta1, let beta2, let epsilon, let weightDecay),
            .adamW(let beta1, let beta2, let epsilon, let weightDecay):
            try check("beta1", beta1, beta1 >= 0 && beta1 < 1, "0 ≤ beta1 < 1")
            try check("beta2", beta2, beta2 >= 0 && beta2 < 1, "0 ≤ beta2 < 1")
            // PyTorch allows 0; here it would turn the padding between parameters into 0/0.
            try check("epsilon", epsilon, epsilon >= 1e-30 && epsilon.isFinite, "at least 1e-30")
            try check("weight decay", weightDecay, weightDecay >= 0 && weightDecay.isFinite, "at least 0")
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
