import DTrainOptimizers
import DTrainTensor
import TestSupport
import Testing

@Suite struct WeightAveragingTests {
    @Test(arguments: [
        (WeightAveraging(decay: 0.7), PyTorchLiterals.average),
        (WeightAveraging(decay: 0.5, warmsUp: true), PyTorchLiterals.averageWarmedUp),
    ]) func tenUpdatesEqualPyTorchs(_ averaging: WeightAveraging, _ expected: [Float]) throws {
        let problem = Problem()
        let optimizer = try problem.run(.sgd(momentum: 0.8), averaging: averaging)
        let average = try #require(optimizer.stateTensors(step: 10).first { $0.name == "p.average" })
        expectClose(average.array(of: Float.self), expected, tolerance: 1e-6, "\(averaging)")
        let own = problem.values
        let seen = optimizer.withAveragedWeights(in: problem.parameters) { problem.values }
        #expect(seen == average.array(of: Float.self) && seen != own)
        #expect(problem.values == own)
        #expect(optimizer.stateTensors(step: 10).first { $0.name == "p.average" }!.array(of: Float.self) == seen)
    }

    @Test func theUpdateIsThatWithoutAnAverage() throws {
        let (with, without) = (Problem(), Problem())
        _ = try with.run(.adamW(), averaging: WeightAveraging(decay: 0.9))
        let optimizer = try without.run(.adamW())
        #expect(with.values == without.values)
        #expect(optimizer.withAveragedWeights(in: without.parameters) { without.values } == without.values)
    }

    @Test(arguments: [1, -0.1, .nan] as [Double]) func impossibleDecaysAreRefused(decay: Double) {
        #expect(throws: OptimizerConfigurationError.self) {
            try Optimizer(.sgd(), averaging: WeightAveraging(decay: decay), layout: Problem().layout)
        }
    }

    /// An error in the body gives the weights back, too.
    @Test func anErrorLeavesTheWeightsAsTheyWere() throws {
        struct Failure: Error {}
        let problem = Problem()
        let optimizer = try problem.run(.sgd(), averaging: WeightAveraging(decay: 0.7))
        let own = problem.values
        #expect(throws: Failure.self) { try optimizer.withAveragedWeights(in: problem.parameters) { throw Failure() } }
        #expect(problem.values == own)
    }
}
