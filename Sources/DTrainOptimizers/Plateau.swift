#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Which values of a monitored number are better.
public enum Goal: Hashable, Sendable { case smaller, larger }

/// Reduces the rate when evaluations stop getting better (`torch.optim.lr_scheduler.ReduceLROnPlateau` with
/// `threshold_mode='rel'` and without a lower bound).
///
/// An evaluation is better if it beats the best one by the factor 1 − threshold (smaller is better) or 1 + threshold
/// (larger is better). After more than `patience` evaluations in a row that are not, the rate is multiplied by `factor`,
/// and for the next `cooldown` evaluations none counts as bad.
public struct Plateau: Hashable, Sendable, Codable {
    /// Above 0 and below 1.
    public var factor: Double
    /// Evaluations that may be bad without consequence.
    public var patience: Int
    /// Relative; at least 0.
    public var threshold: Double
    /// Evaluations after a reduction that do not count.
    public var cooldown: Int

    public init(factor: Double = 0.1, patience: Int = 10, threshold: Double = 1e-4, cooldown: Int = 0) {
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.cooldown = cooldown
    }

    /// What the evaluations so far have led to.
    public struct State: Hashable, Sendable {
        /// nil before the first evaluation.
        public var best: Double?
        /// Bad evaluations in a row.
        public var badCount: Int
        public var cooldownLeft: Int
        public var reductions: Int

        public init(best: Double? = nil, badCount: Int = 0, cooldownLeft: Int = 0, reductions: Int = 0) {
            self.best = best
            self.badCount = badCount
            self.cooldownLeft = cooldownLeft
            self.reductions = reductions
        }
    }

    /// Takes in the next evaluation.
    public func record(_ value: Double, goal: Goal, in state: inout State) {
        let isBetter =
            switch (state.best, goal) {
            case (nil, _): true
            case (let best?, .smaller): value < best * (1 - threshold)
            case (let best?, .larger): value > best * (1 + threshold)
            }
        if isBetter {
            state.best = value
            state.badCount = 0
        } else {
            state.badCount += 1
        }
        if state.cooldownLeft > 0 {
            state.cooldownLeft -= 1
            state.badCount = 0
        }
        if state.badCount > patience {
            state.reductions += 1
            state.cooldownLeft = cooldown
            state.badCount = 0
        }
    }

    /// What the rate is multiplied by after so many reductions.
    public func rateFactor(reductions: Int) -> Double { pow(factor, Double(reductions)) }

    /// Throws where the rule makes no sense.
    public func validate() throws(ScheduleError) {
        guard factor > 0 && factor < 1 else { throw .outOfRange("gamma", "\(factor)", "above 0 and below 1") }
        guard patience >= 0 else { throw .outOfRange("patience", "\(patience) evaluations", "at least 0") }
        guard threshold >= 0 && threshold < 1 else {
            throw .outOfRange("threshold", "\(threshold)", "at least 0 and below 1")
        }
        guard cooldown >= 0 else { throw .outOfRange("cooldown", "\(cooldown) evaluations", "at least 0") }
    }
}

/// Ends a run when evaluations stop getting better: after `patience` in a row of which none beats the best one by more
/// than `minimumDelta`, an absolute difference. (As Keras' `EarlyStopping`; Prechelt 1998.)
public struct EarlyStopping: Hashable, Sendable, Codable {
    /// At least 1.
    public var patience: Int
    /// At least 0.
    public var minimumDelta: Double

    public init(patience: Int, minimumDelta: Double = 0) {
        self.patience = patience
        self.minimumDelta = minimumDelta
    }

    /// What the evaluations so far have led to.
    public struct State: Hashable, Sendable {
        /// nil before the first evaluation.
        public var best: Double?
        /// Evaluations in a row that were not better.
        public var badCount: Int

        public init(best: Double? = nil, badCount: Int = 0) {
            self.best = best
            self.badCount = badCount
        }
    }

    /// Takes in the next evaluation.
    public func record(_ value: Double, goal: Goal, in state: inout State) {
        let isBetter =
            switch (state.best, goal) {
            case (nil, _): true
            case (let best?, .smaller): value < best - minimumDelta
            case (let best?, .larger): value > best + minimumDelta
            }
        if isBetter { state.best = value }
        state.badCount = isBetter ? 0 : state.badCount + 1
    }

    /// Whether a run ends after so many evaluations in a row that were not better.
    public func ends(afterBad count: Int) -> Bool { count >= patience }
}
