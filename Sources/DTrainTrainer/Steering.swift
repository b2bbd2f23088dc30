import DTrainCheckpoint
import DTrainOptimizers

/// The value of an evaluation that plateau and early stopping look at.
public enum Monitor: String, Sendable, CaseIterable {
    /// The mean test loss; smaller is better.
    case loss
    /// The fraction of the test split whose label has the largest output; larger is better.
    case top1

    var goal: Goal { self == .loss ? .smaller : .larger }

    func value(of evaluation: Evaluation) -> Double {
        switch self {
        case .loss: evaluation.loss
        case .top1: evaluation.top1
        }
    }
}

/// What evaluations decide about the rest of a run: the rate after a plateau, and an early end.
///
/// What one evaluation decides takes effect at the next, and training waits there for it. So a coordinator that evaluates
/// while training goes on gives the same run as one that evaluates in between. Evaluations off the cadence, such as the
/// one at the end of a run that may be continued later, do not count.
struct Steering {
    /// What training does from now on.
    struct Verdict: Equatable {
        var rateFactor: Double
        /// Whether the run ends here.
        var ends: Bool
    }

    private let plateau: Plateau?
    private let earlyStopping: EarlyStopping?
    private let monitor: Monitor
    private(set) var decisions: EvaluationDecisions

    /// - Parameter decisions: those of the checkpoint that is continued.
    init(_ configuration: RunConfiguration, decisions: EvaluationDecisions?) {
        plateau = configuration.learningRateSchedule.plateau
        earlyStopping = configuration.earlyStopping
        monitor = configuration.monitor
        self.decisions = decisions ?? EvaluationDecisions()
    }

    /// Whether evaluations decide anything.
    var isActive: Bool { plateau != nil || earlyStopping != nil }

    /// What goes into a checkpoint; nil where evaluations decide nothing.
    var saved: EvaluationDecisions? { isActive ? decisions : nil }

    /// What is in effect.
    var verdict: Verdict {
        Verdict(
            rateFactor: plateau?.rateFactor(reductions: decisions.inEffect.reductions) ?? 1,
            ends: earlyStopping?.ends(afterBad: decisions.inEffect.badCount) ?? false)
    }

    /// The evaluation after `step` updates begins: what the one before has decided takes effect. Returns whether the run
    /// ends with this evaluation.
    mutating func begin(evaluationAfter step: Int, course: RunCourse) -> Bool {
        guard counts(step, course) else { return false }
        decisions.inEffect = decisions.decided
        return verdict.ends
    }

    /// The evaluation that has begun is done.
    mutating func record(_ evaluation: Evaluation, after step: Int, course: RunCourse) {
        guard counts(step, course) else { return }
        decisions.step = step
        let value = monitor.value(of: evaluation)
        if let plateau {
            var state = Plateau.State(
                best: decisions.plateau.best, badCount: decisions.plateau.badCount,
                cooldownLeft: decisions.plateauCooldownLeft, reductions: decisions.decided.reductions)
            plateau.record(value, goal: monitor.goal, in: &state)
            decisions.plateau = EvaluationDecisions.Watch(best: state.best, badCount: state.badCount)
            decisions.plateauCooldownLeft = state.cooldownLeft
            decisions.decided.reductions = state.reductions
        }
        if let earlyStopping {
            var state = EarlyStopping.State(
                best: decisions.earlyStopping.best, badCount: decisions.earlyStopping.badCount)
            earlyStopping.record(value, goal: monitor.goal, in: &state)
            decisions.earlyStopping = EvaluationDecisions.Watch(best: state.best, badCount: state.badCount)
            decisions.decided.badCount = state.badCount
        }
    }

    /// Whether the evaluation after `step` updates is missing: a signal stopped the run right before it.
    func lacksEvaluation(after step: Int, course: RunCourse) -> Bool { isActive && counts(step, course) }

    /// An evaluation counts once, and on the cadence only.
    private func counts(_ step: Int, _ course: RunCourse) -> Bool {
        step > decisions.step && course.isEvaluationOnCadence(after: step)
    }
}
