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
/// warm-up included; cosine and polynomial run from the end of the warm-up to the end of the run.
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
        /// (1 − (step − w) / (total steps − w))^power (`PolynomialLR` by steps, down to 0); 1 during warm-up.
        case polynomial(power: Double = 1)
        /// Up and down once in the whole run (Smith and Topin 2017; `OneCycleLR` with `anneal_strategy='cos'`,
        /// `three_phase=False` and `cycle_momentum=False`: the momentum stays as it is). With the base rate as the
        /// highest: half a cosine from 1 / divFactor up to 1 at step pctStart · total steps − 1, another one down to
        /// 1 / (divFactor · finalDivFactor) at the last step. It has its own rise, so warm-up should be 0.
        case oneCycle(pctStart: Double = 0.3, divFactor: Double = 25, finalDivFactor: Double = 1e4)
        /// 1 as far as the step tells: what evaluations decide comes on top (`Plateau.rateFactor`).
        case plateau(Plateau)
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
    ///   - totalSteps: the steps of the whole run, for cosine, polynomial and one-cycle. Later steps get the last rate.
    public func rate(atStep step: Int, stepsPerEpoch: Int, totalSteps: Int) -> Double {
        let warmupSteps = Int((warmupEpochs * Double(stepsPerEpoch)).rounded())
        let warmup = step < warmupSteps ? Double(step + 1) / Double(warmupSteps) : 1
        return base * warmup * decayFactor(step, epoch: step / stepsPerEpoch, warmupSteps, totalSteps)
    }

    private func decayFactor(_ step: Int, epoch: Int, _ warmupSteps: Int, _ totalSteps: Int) -> Double {
        switch decay {
        case .constant, .plateau: return 1
        case .step(let stepSize, let gamma): return pow(gamma, Double(epoch / stepSize))
        case .multistep(let milestones, let gamma):
            return pow(gamma, Double(milestones.count { $0 <= epoch }))
        case .cosine: return (1 + cos(.pi * progress(step, warmupSteps, totalSteps))) / 2
        case .polynomial(let power): return pow(1 - progress(step, warmupSteps, totalSteps), power)
        case .oneCycle(let pctStart, let divFactor, let finalDivFactor):
            let last = Double(totalSteps - 1)
            let peak = pctStart * Double(totalSteps) - 1
            let position = min(Double(step), last)
            let (low, lowest) = (1 / divFactor, 1 / divFactor / finalDivFactor)
            if peak > 0 && position <= peak { return Self.halfCosine(from: low, to: 1, position / peak) }
            return Self.halfCosine(from: 1, to: lowest, last > peak ? (position - peak) / (last - peak) : 1)
        }
    }

    /// The part of the steps after warm-up that is done, in 0 ... 1.
    private func progress(_ step: Int, _ warmupSteps: Int, _ totalSteps: Int) -> Double {
        guard step > warmupSteps else { return 0 }
        return min(Double(step - warmupSteps) / Double(max(totalSteps - warmupSteps, 1)), 1)
    }

    private static func halfCosine(from start: Double, to end: Double, _ progress: Double) -> Double {
        end + (start - end) / 2 * (1 + cos(.pi * progress))
    }

    /// The rule that evaluations follow, where the schedule is one.
    public var plateau: Plateau? { if case .plateau(let plateau) = decay { plateau } else { nil } }

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
        case .plateau(let plateau): try plateau.validate()
        case .polynomial(let power):
            guard power > 0 && power.isFinite else { throw .outOfRange("power", "\(power)", "above 0") }
        case .oneCycle(let pctStart, let divFactor, let finalDivFactor):
            guard pctStart >= 0 && pctStart <= 1 else {
                throw .outOfRange("the rising part of a cycle", "\(pctStart)", "in 0 ... 1")
            }
            for (name, factor) in [("div factor", divFactor), ("final div factor", finalDivFactor)] {
                guard factor >= 1 && factor.isFinite else { throw .outOfRange(name, "\(factor)", "at least 1") }
            }
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
            case .polynomial(let power): "polynomial(power \(power))"
            case .oneCycle(let pctStart, let divFactor, let finalDivFactor):
                "onecycle(up in \(pctStart) of it, from 1/\(divFactor), down by another 1/\(finalDivFactor))"
            case .plateau(let plateau):
                "plateau(× \(plateau.factor) after \(plateau.patience) evaluations, threshold \(plateau.threshold), "
                    + "cooldown \(plateau.cooldown))"
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
