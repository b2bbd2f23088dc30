import DTrainLayers
import Testing

/// The losses against their oracles: sums over samples, their gradients and their denominators.
@Suite struct LossTests {
    private final class Logits: Module {
        let table: Linear
        init(_ outputs: Int) { table = Linear(outputs, bias: false) }
        func callAsFunction(_ x: Value) -> Value { table(x) }
    }

    private struct Run {
        let replica: TestReplica
        let logits: ReferenceTensor
        let loss: Replica.LossSum
        let gradient: ReferenceTensor
        let inputs: ReferenceTensor
    }

    /// Sets the logits exactly (one-hot rows through a table of weights) and returns what the engine makes of them.
    private func run(_ logits: ReferenceTensor, _ labels: [Int], _ objective: Objective, threads: Int) throws -> Run {
        let (rows, outputs) = (logits.shape[0], logits.shape[1])
        func transposed(_ x: ReferenceTensor) -> ReferenceTensor {
            var y = ReferenceTensor([x.shape[1], x.shape[0]])
            for i in 0..<x.shape[0] { for j in 0..<x.shape[1] { y[j, i] = x[i, j] } }
            return y
        }
        var identity = ReferenceTensor([rows, rows])
        for row in 0..<rows { identity[row, row] = 1 }
        let replica = try TestReplica(
            Logits(outputs), input: [rows], objective: objective, capacity: rows, threads: threads)
        replica["table.weight"] = transposed(logits)
        let loss = replica.step(identity, labels: labels)
        return Run(
            replica: replica, logits: logits, loss: loss, gradient: transposed(replica.gradient("table.weight")),
            inputs: identity)
    }

    /// Rows beyond 16 are split over threads.
    @Test(arguments: [(1, 2), (3, 10), (40, 7), (5, 129)], [Float(0), 0.15, 1])
    func crossEntropyMatchesOracle(_ extents: (rows: Int, classes: Int), smoothing: Float) throws {
        let oracle = CrossEntropyOracle(smoothing: Double(smoothing))
        let logits = ReferenceTensor.random([extents.rows, extents.classes], seed: 3, in: -4...4)
        let labels = (0..<extents.rows).map { ($0 * 5 + 1) % extents.classes }
        for threads in 1...3 {
            let run = try run(logits, labels, .crossEntropy(labelSmoothing: smoothing), threads: threads)
            let expected = oracle.forward(logits, labels: labels)
            #expect(abs(run.loss.sum - expected) <= 1e-6 * expected)
            #expect(run.loss.denominator == Double(extents.rows))
            expectMatches(run.gradient, oracle.gradient(logits, labels: labels), tolerance: 2e-6, "gradient")
            expectFiniteDifferences(run.replica, run.inputs, labels, "cross-entropy")
            // Evaluation reports the plain loss.
            let evaluated = run.replica.evaluate(run.inputs, labels: labels).sum.loss
            let plain = CrossEntropyOracle().forward(logits, labels: labels)
            #expect(abs(evaluated.sum - plain) <= 1e-6 * plain)
            #expect(evaluated.denominator == Double(extents.rows))
        }
    }

    /// Large logits neither overflow nor lose the loss of a sure answer.
    @Test func crossEntropyOfLargeLogits() throws {
        let logits = ReferenceTensor([4, 3], [1000, 0, -1000, 0, 500, 499, -1e4, -1e4, -1e4, 88, 90, 89])
        let labels = [0, 2, 1, 0]
        let run = try run(logits, labels, .crossEntropy(), threads: 1)
        let oracle = CrossEntropyOracle()
        #expect(abs(run.loss.sum - oracle.forward(logits, labels: labels)) < 1e-4)
        expectMatches(run.gradient, oracle.gradient(logits, labels: labels), tolerance: 1e-4, "gradient")
    }

    /// What all logits of a row have in common costs no digits, in the loss nor in the gradient.
    @Test(arguments: [Float(0), 0.2])
    func crossEntropyDependsOnDifferencesOfLogits(smoothing: Float) throws {
        let logits = ReferenceTensor(
            [3, 3], [1e5, 1e5 - 0.5, 1e5 + 0.25, -4e6, -4e6 + 1, -4e6 - 2, 3e38, 3e38, smoothing > 0 ? 3e38 : -3e38])
        let labels = [1, 2, 0]
        let run = try run(logits, labels, .crossEntropy(labelSmoothing: smoothing), threads: 1)
        let oracle = CrossEntropyOracle(smoothing: Double(smoothing))
        let expected = oracle.forward(logits, labels: labels)
        #expect(abs(run.loss.sum - expected) <= 1e-6 * expected)
        expectMatches(run.gradient, oracle.gradient(logits, labels: labels), tolerance: 1e-6, "gradient")
    }

    /// A broken step must be seen: NaN and infinity reach the loss.
    @Test(arguments: [Double.nan, .infinity])
    func crossEntropyOfBrokenLogitsIsNotFinite(_ value: Double) throws {
        let logits = ReferenceTensor([2, 3], [1, 3, value, 0, 0, 0])
        #expect(try !run(logits, [0, 1], .crossEntropy(), threads: 1).loss.sum.isFinite)
    }

    @Test(arguments: [(1, 2), (3, 10), (5, 129)], 1...3)
    func squaredErrorMatchesOracle(_ extents: (rows: Int, outputs: Int), threads: Int) throws {
        let x = ReferenceTensor.random([extents.rows, extents.outputs], seed: 3, in: -2...2)
        let labels = (0..<extents.rows).map { ($0 * 5 + 1) % extents.outputs }
        var target = ReferenceTensor(x.shape)
        for (row, label) in labels.enumerated() { target[row, label] = 1 }
        let run = try run(x, labels, .meanSquaredError, threads: threads)
        let expected = SquaredErrorOracle.forward(x, target: target)
        #expect(abs(run.loss.sum - expected) <= 1e-6 * expected)
        #expect(run.loss.denominator == Double(x.values.count), "PyTorch's mean counts elements")
        expectMatches(run.gradient, SquaredErrorOracle.gradient(x, target: target), tolerance: 2e-6, "gradient")
        expectFiniteDifferences(run.replica, run.inputs, labels, "squared error")
    }

    /// Correct answers are counted in whole numbers; of equal outputs the first class counts as the larger.
    @Test func evaluationCountsCorrectAnswers() throws {
        let logits = ReferenceTensor(
            [4, 7],
            [
                9, 1, 2, 3, 4, 5, 6,  // label 0 is first
                9, 1, 2, 3, 4, 5, 6,  // label 3 is fifth
                9, 1, 2, 3, 4, 5, 6,  // label 2 is sixth
                1, 1, 1, 1, 1, 1, 1,  // label 1 is second: ties in order of index
            ])
        let labels = [0, 3, 2, 1]
        let run = try run(logits, labels, .crossEntropy(), threads: 2)
        let sum = run.replica.evaluate(run.inputs, labels: labels).sum
        #expect(sum.correct == 1)
        #expect(sum.correctTop5 == 3)
    }
}
