import DTrainOptimizers
import Foundation
import Testing

@Suite struct ScheduleTests {
    @Test(arguments: [
        (Schedule(base: 0.2, warmupEpochs: 1.5), PyTorchLiterals.warmupRates),
        (Schedule(base: 0.2, decay: .step(stepSize: 3, gamma: 0.3)), PyTorchLiterals.stepRates),
        (
            Schedule(base: 0.2, decay: .step(stepSize: 3, gamma: 0.3), warmupEpochs: 1.5),
            PyTorchLiterals.stepWarmupRates
        ),
        (Schedule(base: 0.2, decay: .multistep(milestones: [2, 7], gamma: 0.3)), PyTorchLiterals.multistepRates),
        (Schedule(base: 0.2, decay: .cosine), PyTorchLiterals.cosineRates),
        (Schedule(base: 0.2, decay: .cosine, warmupEpochs: 1.5), PyTorchLiterals.cosineWarmupRates),
        (Schedule(base: 0.2, decay: .polynomial(power: 1.7)), PyTorchLiterals.polynomialRates),
        (Schedule(base: 0.2, decay: .polynomial(power: 0.8), warmupEpochs: 1.5), PyTorchLiterals.polynomialWarmupRates),
        (Schedule(base: 0.2, decay: .oneCycle()), PyTorchLiterals.oneCycleRates),
        (
            Schedule(base: 0.2, decay: .oneCycle(pctStart: 0.62, divFactor: 7, finalDivFactor: 30)),
            PyTorchLiterals.oneCycleOtherRates
        ),
        (Schedule(base: 0.2, decay: .oneCycle(pctStart: 0)), PyTorchLiterals.oneCycleFallingRates),
    ]) func ratesEqualPyTorchs(_ schedule: Schedule, _ expected: [Double]) {
        for step in 0..<40 {
            let rate = schedule.rate(atStep: step, stepsPerEpoch: 4, totalSteps: 40)
            #expect(abs(rate - expected[step]) <= 1e-12, "step \(step): \(rate), PyTorch \(expected[step])")
        }
    }

    @Test func constantNeverChanges() {
        for step in [0, 1, 1000] {
            #expect(Schedule(base: 0.3).rate(atStep: step, stepsPerEpoch: 7, totalSteps: 9) == 0.3)
        }
    }

    @Test func cosineStaysAtZeroBeyondTheEnd() {
        let schedule = Schedule(base: 0.3, decay: .cosine)
        #expect(schedule.rate(atStep: 25, stepsPerEpoch: 5, totalSteps: 20) == 0)
    }

    @Test(arguments: [1, 2, 3, 4]) func oneCycleOfAFewStepsIsDefined(total: Int) {
        let schedule = Schedule(base: 0.3, decay: .oneCycle(pctStart: 0.5, divFactor: 10, finalDivFactor: 3))
        let rates = (0..<total + 2).map { schedule.rate(atStep: $0, stepsPerEpoch: 5, totalSteps: total) }
        #expect(rates.allSatisfy { $0 >= 0.0099 && $0 <= 0.3 }, "\(rates)")
        #expect(rates[total] == rates[total - 1] && rates[total + 1] == rates[total - 1])
    }

    @Test func aPlateauAloneIsConstant() {
        let schedule = Schedule(base: 0.3, decay: .plateau(Plateau()), warmupEpochs: 1)
        #expect(schedule.rate(atStep: 4, stepsPerEpoch: 5, totalSteps: 20) == 0.3)
        #expect(schedule.rate(atStep: 19, stepsPerEpoch: 5, totalSteps: 20) == 0.3)
        #expect(schedule.plateau == Plateau() && Schedule(base: 1).plateau == nil)
    }

    @Test func warmupLongerThanTheRunEndsWhereItGot() {
        let schedule = Schedule(base: 1, decay: .cosine, warmupEpochs: 4)
        #expect(schedule.rate(atStep: 9, stepsPerEpoch: 5, totalSteps: 10) == 0.5)
        #expect(schedule.rate(atStep: 20, stepsPerEpoch: 5, totalSteps: 10) == 1)
    }

    @Test func survivesEncoding() throws {
        let schedule = Schedule(base: 0.1, decay: .multistep(milestones: [3, 5], gamma: 0.2), warmupEpochs: 0.5)
        let data = try JSONEncoder().encode(schedule)
        #expect(try JSONDecoder().decode(Schedule.self, from: data) == schedule)
        #expect(schedule.description == "multistep(at epochs 3 5 × 0.2) from 0.1, warm-up 0.5 epochs")
    }

    @Test(arguments: [
        Schedule(base: -1), Schedule(base: .nan), Schedule(base: 1, warmupEpochs: -1),
        Schedule(base: 1, decay: .step(stepSize: 0)), Schedule(base: 1, decay: .step(stepSize: 1, gamma: 0)),
        Schedule(base: 1, decay: .multistep(milestones: [])), Schedule(base: 1, decay: .multistep(milestones: [0])),
        Schedule(base: 1, decay: .multistep(milestones: [1], gamma: 1.5)),
        Schedule(base: 1, decay: .polynomial(power: 0)), Schedule(base: 1, decay: .oneCycle(pctStart: 1.5)),
        Schedule(base: 1, decay: .oneCycle(divFactor: 0.5)), Schedule(base: 1, decay: .oneCycle(finalDivFactor: .nan)),
    ]) func impossibleSchedulesAreRefused(schedule: Schedule) {
        #expect(throws: ScheduleError.self) { try schedule.validate() }
    }
}
