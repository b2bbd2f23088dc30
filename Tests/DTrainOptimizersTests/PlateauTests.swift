import DTrainOptimizers
import Testing

@Suite struct PlateauTests {
    @Test(arguments: [
        (Plateau(factor: 0.3, patience: 2), Goal.smaller, PyTorchLiterals.plateauFactors),
        (
            Plateau(factor: 0.3, patience: 1, threshold: 1e-2, cooldown: 3), .smaller,
            PyTorchLiterals.plateauCooldownFactors
        ),
        (Plateau(factor: 0.5, patience: 0, threshold: 0), .smaller, PyTorchLiterals.plateauImpatientFactors),
        (
            Plateau(factor: 0.3, patience: 2, threshold: 1e-3, cooldown: 1), .larger,
            PyTorchLiterals.plateauLargerFactors
        ),
        (Plateau(), .smaller, PyTorchLiterals.plateauDefaultsFactors),
    ]) func factorsEqualPyTorchs(_ plateau: Plateau, _ goal: Goal, _ expected: [Double]) {
        var state = Plateau.State()
        for (index, value) in PyTorchLiterals.evaluations.enumerated() {
            plateau.record(goal == .smaller ? value : 3 - value, goal: goal, in: &state)
            let factor = plateau.rateFactor(reductions: state.reductions)
            #expect(abs(factor / expected[index] - 1) < 1e-12, "evaluation \(index + 1)")
        }
    }

    /// PyTorch's plateau with an absolute threshold reduces for the first time where a run would end.
    @Test(arguments: PyTorchLiterals.ends)
    func endsWherePyTorchWouldReduce(_ patience: Int, _ delta: Double, _ larger: Bool, _ end: Int) {
        let rule = EarlyStopping(patience: patience, minimumDelta: delta)
        var state = EarlyStopping.State()
        let found = PyTorchLiterals.evaluations.firstIndex { value in
            rule.record(larger ? 3 - value : value, goal: larger ? .larger : .smaller, in: &state)
            return rule.ends(afterBad: state.badCount)
        }
        #expect((found ?? -1) + 1 == end)
    }

    @Test(arguments: [
        Plateau(factor: 1), Plateau(factor: 0), Plateau(patience: -1), Plateau(threshold: -1), Plateau(threshold: 1),
        Plateau(cooldown: -1), Plateau(threshold: .nan),
    ]) func impossibleRulesAreRefused(plateau: Plateau) {
        #expect(throws: ScheduleError.self) { try Schedule(base: 1, decay: .plateau(plateau)).validate() }
    }
}
