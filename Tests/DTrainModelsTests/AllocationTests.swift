import CAllocationCounter
import DTrainEngine
import DTrainOptimizers
import Testing

/// A step allocates nothing on the compute thread once the first is done.
@Suite struct AllocationTests {
    @Test(arguments: ModelParityTests.models, 1...3)
    func stepsAllocateNothing(_ model: String, threads: Int) throws {
        try #require(allocation_count() >= 0)
        let run = try ParityRun(model, threads: threads)
        let optimizer = try Optimizer(.sgd(momentum: 0.9, weightDecay: 1e-4), layout: run.replica.layout)
        let digits = try ParityFixture.digits(batch: 0)
        let context = Silent()
        func step(_ number: Int, rows: Int) {
            let samples = Replica.Samples(inputs: digits.images[0..<rows * 784], labels: digits.labels[0..<rows], step: number)
            _ = run.replica.computeGradients(samples, context: context)
            optimizer.update(
                parameters: run.replica.parameters, gradients: run.replica.gradients, rate: 0.01,
                gradientScale: 1 / Double(rows), step: number, pool: run.pool)
            _ = run.replica.evaluate(samples)
        }
        step(0, rows: ParityFixture.batch)
        let before = allocation_count()
        // Smaller runs too: a plan runs any extent up to its capacity.
        for number in 1...6 { step(number, rows: 1 + number % ParityFixture.batch) }
        #expect(allocation_count() == before)
        withExtendedLifetime(digits.owner) {}
    }

    private final class Silent: StepContext {
        func gradientsReady(_ range: Range<Int>) {}
    }
}
