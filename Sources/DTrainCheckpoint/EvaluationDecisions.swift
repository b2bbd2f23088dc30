/// What evaluations have led to so far, where a plateau lowers the rate or early stopping ends the run.
///
/// What the evaluation after some step decides takes effect at the next evaluation. So a checkpoint holds both: what is in
/// effect, and what will be.
public struct EvaluationDecisions: Hashable, Sendable, Codable {
    /// The step of the last evaluation that counted; 0 before the first.
    public var step = 0
    public var plateau = Watch()
    /// Evaluations left in which none counts as bad for the plateau.
    public var plateauCooldownLeft = 0
    public var earlyStopping = Watch()
    /// After the last evaluation that counted.
    public var decided = Consequences()
    /// In effect since then: what was decided before it.
    public var inEffect = Consequences()

    /// The best value that one rule has seen, and how many evaluations in a row were no better.
    public struct Watch: Hashable, Sendable, Codable {
        /// Finite; nil before the first evaluation.
        public var best: Double?
        public var badCount = 0

        public init(best: Double? = nil, badCount: Int = 0) {
            self.best = best
            self.badCount = badCount
        }

        private enum CodingKeys: String, CodingKey {
            case best
            case badCount = "bad_count"
        }
    }

    /// What training does differently.
    public struct Consequences: Hashable, Sendable, Codable {
        /// How often the plateau has lowered the rate.
        public var reductions = 0
        /// Evaluations in a row without the improvement that early stopping asks for.
        public var badCount = 0

        public init() {}

        private enum CodingKeys: String, CodingKey {
            case reductions
            case badCount = "bad_count"
        }
    }

    public init() {}

    private enum CodingKeys: String, CodingKey {
        case step, plateau, decided
        case plateauCooldownLeft = "plateau_cooldown_left"
        case earlyStopping = "early_stopping"
        case inEffect = "in_effect"
    }
}
