#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The learning rate as a function of the step alone: resuming needs nothing but the step.
///
/// rate(step) = base · warmup(step) · decay(step), with epoch = ⌊step / steps per epoch⌋, both counted from 0.
///
/// Warm-up (Goyal et al. 2017) takes w = round(warmupEpochs · steps per epoch) steps: warmup = (step + 1) / w while
/// step < w, then 1; so `LinearLR(start_factor=1/w, total_iters=w-1)`. Decays count epochs from the start of the run,
/// warm-up included; the cosine runs from the end of the warm-up to the end of the run.
public struct Schedule: Hashable, Sendable, Codable {
    /// How the rate falls; formulas as in `torch.optim.lr_scheduler`.
    public enum Decay: Hashable, Sendable, Codable {
        /// 1 throughout.
        case constant
        /// gamma^⌊epoch / stepSize⌋ (`StepLR`).
        case step(stepSize: Int, gamma: Double = 0.1)
        /// gamma^(number of milestones ≤ epoch) (`MultiStepLR`).
        case multistep(milestones: [Int], gamma: Double = 0.1)
        /// (1 + cos(π · (step − w) / (total steps − w))) / 2 (`CosineAnnealingLR` by steps, down to 0; Loshchilov and
        /// Hutter 2016); 1 during warm-up.
        case cosine
    }

    /// The rate after warm-up and before decay.
    public var base: Double
    public var decay: Decay
    /// Epochs of linear warm-up; a fraction is allowed, 0 means none.
    public var warmupEpochs: Double

    public init(base: Double, decay: Decay = .constant, warmupEpochs: Double = 0) {
        self.base = base
        self.decay = decay
        self.warmupEpochs = warmupEpochs
    }

    /// The learning rate of the update made after `step` others.
    ///
    /// - Parameters:
    ///   - stepsPerEpoch: at least 1.
    ///   - totalSteps: the steps of the whole run; the cosine alone uses it. Later steps get the last rate, 0.
    public func rate(atStep step: Int, stepsPerEpoch: Int, totalSteps: Int) -> Double {
        let warmupSteps = Int((warmupEpochs * Double(stepsPerEpoch)).rounded())
        let warmup = step < warmupSteps ? Double(step + 1) / Double(warmupSteps) : 1
        return base * warmup * decayFactor(step, epoch: step / stepsPerEpoch, warmupSteps, totalSteps)
    }

    private func decayFactor(_ step: Int, epoch: Int, _ warmupSteps: Int, _ totalSteps: Int) -> Double {
        switch decay {
        case .constant: return 1
        case .step(let stepSize, let gamma): return pow(gamma, Double(epoch / stepSize))
        case .multistep(let milestones, let gamma):
            return pow(gamma, Double(milestones.count { $0 <= epoch }))
        case .cosine:
            guard step > warmupSteps else { return 1 }
            let progress = Double(step - warmupSteps) / Double(max(totalSteps - warmupSteps, 1))
            return (1 + cos(.pi * min(progress, 1))) / 2
        }
    }

    /// Throws when the rate would not be defined, finite and at least 0 at every step.
    public func validate() throws(ScheduleError) {
        guard base.isFinite && base >= 0 else { throw .outOfRange("learning rate", "\(base)", "finite and at least 0") }
        guard warmupEpochs.isFinite && warmupEpochs >= 0 else {
            throw .outOfRange("warm-up", "\(warmupEpochs) epochs", "finite and at least 0")
        }
        func checkGamma(_ gamma: Double) throws(ScheduleError) {
            guard gamma > 0 && gamma <= 1 else { throw .outOfRange("gamma", "\(gamma)", "above 0 and at most 1") }
        }
        switch decay {
        case .constant, .cosine: break
        case .step(let stepSize, let gamma):
            guard stepSize >= 1 else { throw .outOfRange("step size", "\(stepSize) epochs", "at least 1") }
            try checkGamma(gamma)
        case .multistep(let milestones, let gamma):
            guard !milestones.isEmpty && milestones.allSatisfy({ $0 >= 1 }) else {
                throw .outOfRange("milestones", "\(milestones)", "one or more epochs, each at least 1")
            }
            try checkGamma(gamma)
        }
    }
}

extension Schedule: CustomStringConvertible {
    /// `step(every 30 epochs × 0.1) from 0.1, warm-up 5.0 epochs`.
    public var description: String {
        let shape =
            switch decay {
            case .constant: "constant"
            case .step(let stepSize, let gamma): "step(every \(stepSize) epochs × \(gamma))"
            case .multistep(let milestones, let gamma):
                "multistep(at epochs \(milestones.map(String.init).joined(separator: " ")) × \(gamma))"
            case .cosine: "cosine"
            }
        return "\(shape) from \(base)" + (warmupEpochs > 0 ? ", warm-up \(warmupEpochs) epochs" : "")
    }
}

/// A schedule that would give no usable rate.
public enum ScheduleError: Error, Hashable, Sendable, CustomStringConvertible {
    case outOfRange(_ name: String, _ value: String, _ range: String)

    public var description: String {
        switch self {
        case .outOfRange(let name, let value, let range): "\(name) is \(value), must be \(range)"
        }
    }
}
