import DTrainEvents
import DTrainLayers
import DTrainTrainer
import Testing

/// The number of ranks, and how a rank goes through its part of a batch, change nothing but speed.
@Suite(.timeLimit(.minutes(5)))
struct LossCurveTests {
    private func curve(
        ranks: Int, model: String = "cnn-mnist", threads: Int = 1,
        _ configure: (inout RunConfiguration) -> Void = { _ in }
    ) throws -> [Double] {
        let directory = ScratchDirectory()
        var run = try TestRun(directory, ranks: ranks) {
            $0.steps = 30
            if model == "inception-mnist" { $0.learningRate = 0.01 }
            configure(&$0)
        }
        run.model = model
        run.threads = threads
        try run.complete()
        withExtendedLifetime(directory) {}
        return run.log.losses
    }

    @Test("1, 2, 3, 4 and 8 ranks give the same loss curve", arguments: ["cnn-mnist", "inception-mnist"])
    func ranksGiveTheSameCurve(model: String) throws {
        let expected = try curve(ranks: 1, model: model)
        #expect(expected.count == 30)
        #expect(expected.last! < 0.95 * expected[0], "nothing is learnt: \(expected)")
        for ranks in [2, 3, 4, 8] { expectSameCurve(try curve(ranks: ranks, model: model), expected) }
    }

    @Test("A batch that the ranks do not divide, two threads, dedicated: still the same curve")
    func unevenSharesGiveTheSameCurve() throws {
        let expected = try curve(ranks: 1) { $0.batchSize = 23 }
        expectSameCurve(try curve(ranks: 3, threads: 2) { $0.batchSize = 23 }, expected)
        expectSameCurve(
            try curve(ranks: 4) {
                $0.batchSize = 23
                $0.coordinator = .dedicated
            }, expected)
    }

    @Test("Accumulating over k parts is one batch", arguments: [2, 3, 5, 8])
    func accumulationIsOneBatch(parts: Int) throws {
        let configure: (inout RunConfiguration) -> Void = {
            $0.optimizer = .adamw
            $0.learningRate = 0.002
            $0.clipNorm = 1
            $0.labelSmoothing = 0.1
        }
        let expected = try curve(ranks: 1, configure)
        for ranks in [1, 2] {
            let accumulated = try curve(ranks: ranks) {
                configure(&$0)
                $0.accumulate = parts
            }
            expectSameCurve(accumulated, expected)
        }
    }

    @Test("Dropout depends on the position in the global batch, not on the rank that holds it")
    func dropoutIsGlobal() throws {
        final class WithDropout: Module {
            let fc1 = Linear(32)
            let fc2 = Linear(10)
            let dropout = Dropout(0.5)
            func callAsFunction(_ x: Value) -> Value { fc2(dropout(relu(fc1(flatten(x))))) }
        }
        func curve(ranks: Int, accumulate: Int) throws -> [Double] {
            let directory = ScratchDirectory()
            var run = try TestRun(directory, ranks: ranks) {
                $0.steps = 30
                $0.accumulate = accumulate
            }
            run.module = { WithDropout() }
            try run.complete()
            withExtendedLifetime(directory) {}
            return run.log.losses
        }
        let expected = try curve(ranks: 1, accumulate: 1)
        expectSameCurve(try curve(ranks: 3, accumulate: 1), expected)
        expectSameCurve(try curve(ranks: 2, accumulate: 2), expected)
    }

    @Test("The batch counts once however it is shared: the curve of another batch size differs")
    func batchSizeIsGlobal() throws {
        let one = try curve(ranks: 2) { $0.batchSize = 24 }
        let other = try curve(ranks: 2) { $0.batchSize = 12 }
        #expect(abs(one[29] - other[29]) > 2e-4 * one[29])
    }
}
