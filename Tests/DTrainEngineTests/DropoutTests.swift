import DTrainLayers
import Testing

/// Dropout: its rate and scale, the same mask on the way back, and a mask that depends on nothing but seed, step, layer
/// and the position in the global batch.
@Suite struct DropoutTests {
    private static let features = 257

    /// A row of a table of weights through dropout: with weights of one the outputs are the scaled mask.
    private final class Masked: Module {
        let table: Linear
        let dropouts: [Dropout]
        init(_ probabilities: [Float]) {
            table = Linear(DropoutTests.features, bias: false)
            dropouts = probabilities.map { Dropout($0) }
        }
        func callAsFunction(_ x: Value) -> Value { dropouts.reduce(table(x)) { $1($0) } }
    }

    private func replica(_ probabilities: [Float], rows: Int, threads: Int = 1) throws -> TestReplica {
        let replica = try TestReplica(
            Masked(probabilities), input: [rows], objective: .meanSquaredError, capacity: rows, threads: threads)
        replica["table.weight"] = ReferenceTensor([Self.features, rows], filledWith: 1)
        return replica
    }

    private func identity(_ rows: Int) -> ReferenceTensor {
        var matrix = ReferenceTensor([rows, rows])
        for row in 0..<rows { matrix[row, row] = 1 }
        return matrix
    }

    /// Rows `range` of the batch as `replica` masks them.
    private func outputs(_ replica: TestReplica, rows: Int, from first: Int = 0, step: Int = 0) -> [Float] {
        replica.step(identity(rows), labels: [Int](repeating: 0, count: rows), step: step, firstPosition: first)
        return replica.outputs
    }

    @Test(arguments: [Float(0.1), 0.3, 0.5, 0.9])
    func rateAndScale(_ probability: Float) throws {
        let rows = 64
        let values = outputs(try replica([probability], rows: rows), rows: rows)
        let kept = values.filter { $0 != 0 }
        #expect(kept.allSatisfy { abs($0 * (1 - probability) - 1) < 1e-6 })
        let share = Float(kept.count) / Float(values.count)
        // Five standard deviations of a fair draw.
        let deviation = (probability * (1 - probability) / Float(values.count)).squareRoot()
        #expect(abs(share - (1 - probability)) < 5 * deviation)
        for row in 0..<rows {
            let line = values[row * Self.features..<(row + 1) * Self.features]
            #expect(Set(line).count == 2, "row \(row) is all kept or all dropped")
        }
    }

    @Test(arguments: 1...3)
    func gradientPassesTheSameMask(threads: Int) throws {
        let rows = 7
        let replica = try replica([0.4], rows: rows, threads: threads)
        let weight = ReferenceTensor.random([Self.features, rows], seed: 2, in: 1...2)
        let mask = ReferenceTensor([rows, Self.features], outputs(replica, rows: rows, step: 3).map { $0 == 0 ? 0 : 1 })
        replica["table.weight"] = weight
        let oracle = DropoutOracle(probability: Double(Float(0.4)), mask: mask)
        var x = ReferenceTensor([rows, Self.features])
        for row in 0..<rows { for j in 0..<Self.features { x[row, j] = weight[j, row] } }
        let y = oracle.forward(x)
        let values = outputs(replica, rows: rows, step: 3)
        expectMatches(ReferenceTensor(y.shape, values.map(Double.init)), y, tolerance: 1e-6, "output")
        var target = ReferenceTensor(y.shape)
        for row in 0..<rows { target[row, 0] = 1 }
        let dx = oracle.gradient(outputGradient: SquaredErrorOracle.gradient(y, target: target))
        let gradient = replica.gradient("table.weight")
        var actual = ReferenceTensor(dx.shape)
        for row in 0..<rows { for j in 0..<Self.features { actual[row, j] = gradient[j, row] } }
        expectMatches(actual, dx, tolerance: 1e-6, "gradient")
    }

    @Test func maskDependsOnThePositionInTheBatchAlone() throws {
        let whole = outputs(try replica([0.5], rows: 12), rows: 12)
        for threads in 2...3 { #expect(outputs(try replica([0.5], rows: 12, threads: threads), rows: 12) == whole) }
        for (first, rows) in [(0, 5), (5, 7), (11, 1)] {
            let part = outputs(try replica([0.5], rows: rows), rows: rows, from: first)
            #expect(part == Array(whole[first * Self.features..<(first + rows) * Self.features]))
        }
    }

    @Test func maskDiffersByStepRowAndLayer() throws {
        let replica = try replica([0.5], rows: 2)
        let first = outputs(replica, rows: 2)
        #expect(outputs(replica, rows: 2) == first)
        #expect(outputs(replica, rows: 2, step: 1) != first)
        #expect(first[..<Self.features] != first[Self.features...])
        // Two layers of one mask would keep half of the elements, two independent ones a quarter.
        let twice = outputs(try self.replica([0.5, 0.5], rows: 16), rows: 16)
        let share = Double(twice.filter { $0 != 0 }.count) / Double(twice.count)
        #expect(abs(share - 0.25) < 0.05)
    }

    @Test func evaluationLeavesInputsAlone() throws {
        let outputs = try replica([0.5], rows: 3).evaluate(identity(3), labels: [0, 0, 0]).outputs
        #expect(outputs.values.allSatisfy { $0 == 1 })
    }
}
