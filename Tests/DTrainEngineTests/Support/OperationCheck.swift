import DTrainLayers
import DTrainTensor
import Testing

/// Checks one operation of the engine, through the interface that models use, against its oracle and by finite differences.
///
/// The operation stands between a table of inputs and a linear layer with a loss. The table is a linear layer without
/// bias that reads one-hot rows: row n of the batch comes out as column n of its weight, so any input can be set exactly,
/// and the weight's gradient is the gradient that reaches the operation's input.
struct OperationCheck {
    /// The shapes of one sample of each input of the operation.
    let inputs: [[Int]]
    /// The layer under test, for its parameters; nil for a function.
    let layer: (any Module)?
    /// Values of the layer's parameters, by the name within the layer.
    var parameters: [String: ReferenceTensor] = [:]
    var rows = 2
    var threads = 1
    /// Inputs lie in this range.
    var range: ClosedRange<Float> = -1...1
    /// False where a kink (ReLU, maximum) may lie within the step of the finite differences.
    var isSmooth = true
    /// True where evaluation computes something else than training: then the output is that of a step.
    var evaluatesInTraining = false
    let apply: ([Value]) -> Value
    let forward: ([ReferenceTensor]) -> ReferenceTensor
    /// The gradients of Σ y · dy with respect to inputs and parameters.
    let gradients:
        (_ inputs: [ReferenceTensor], _ dy: ReferenceTensor) -> ([ReferenceTensor], [String: ReferenceTensor])

    static let classes = 5

    private final class Probe: Module {
        let table: [Linear]
        let layer: (any Module)?
        let head: Linear?
        let shapes: [[Int]]
        let apply: ([Value]) -> Value

        init(_ check: OperationCheck, hasHead: Bool) {
            shapes = check.inputs
            table = shapes.map { Linear($0.reduce(1, *), bias: false) }
            layer = check.layer
            head = hasHead ? Linear(OperationCheck.classes) : nil
            apply = check.apply
        }

        func callAsFunction(_ x: Value) -> Value {
            let y = flatten(apply(zip(table, shapes).map { reshape($0(x), to: Shape($1)) }))
            return head?(y) ?? y
        }
    }

    func run(_ what: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let x = inputs.enumerated().map { ReferenceTensor.random([rows] + $1, seed: 100 + $0, in: range) }
        let y = forward(x)
        try checkForward(x, y, what, sourceLocation)
        try checkBackward(x, y, what, sourceLocation)
    }

    private func checkForward(
        _ x: [ReferenceTensor], _ y: ReferenceTensor, _ what: String, _ location: SourceLocation
    ) throws {
        let replica = try TestReplica(Probe(self, hasHead: false), input: [rows], capacity: rows, threads: threads)
        fill(replica, x)
        let labels = [Int](repeating: 0, count: rows)
        let output: ReferenceTensor
        if evaluatesInTraining {
            replica.step(identity, labels: labels, sourceLocation: location)
            output = ReferenceTensor([rows, replica.replica.outputCount], replica.outputs.map(Double.init))
        } else {
            output = replica.evaluate(identity, labels: labels).outputs
        }
        expectMatches(output, flattened(y), "\(what): output", sourceLocation: location)
    }

    private func checkBackward(
        _ x: [ReferenceTensor], _ y: ReferenceTensor, _ what: String, _ location: SourceLocation
    ) throws {
        // One row more than is used, and a run with all of them before: nothing may depend on what memory held.
        let replica = try TestReplica(Probe(self, hasHead: true), input: [rows], capacity: rows + 1, threads: threads)
        replica.step(ReferenceTensor.random([rows + 1, rows], seed: 5), labels: (0...rows).map { $0 % Self.classes })
        fill(replica, x)
        // Logits of moderate size: a saturated softmax has gradients that fp32 cannot hold.
        let features = y.values.count / rows
        let reach = Float(features).squareRoot().rounded()
        let weight = ReferenceTensor.random([Self.classes, features], seed: 7, in: -1 / reach...1 / reach)
        let bias = ReferenceTensor.random([Self.classes], seed: 8)
        replica["head.weight"] = weight
        replica["head.bias"] = bias
        let labels = (0..<rows).map { ($0 * 3 + 1) % Self.classes }
        let loss = replica.step(identity, labels: labels, sourceLocation: location)

        let logits = LinearOracle.forward(flattened(y), weight: weight, bias: bias)
        let oracle = CrossEntropyOracle()
        let expectedLoss = oracle.forward(logits, labels: labels)
        #expect(abs(loss.sum - expectedLoss) <= 1e-5 * max(1, expectedLoss), "\(what): loss", sourceLocation: location)
        let head = LinearOracle.gradients(
            flattened(y), weight: weight, outputGradient: oracle.gradient(logits, labels: labels))
        let dy =
            y.shape.count == 2
            ? head.x : ShapeOracle.flattenGradient(asImageShape(y.shape), outputGradient: head.x).reshaped(y.shape)
        let (dx, dParameters) = gradients(x, dy)
        expectMatches(replica.gradient("head.bias"), head.bias, "\(what): d head.bias", sourceLocation: location)
        expectMatches(replica.gradient("head.weight"), head.weight, "\(what): d head.weight", sourceLocation: location)
        for (index, gradient) in dx.enumerated() {
            expectMatches(
                columns(replica.gradient("table.\(index).weight"), like: gradient), gradient,
                "\(what): d input \(index)",
                sourceLocation: location)
        }
        for (name, gradient) in dParameters {
            expectMatches(replica.gradient("layer.\(name)"), gradient, "\(what): d \(name)", sourceLocation: location)
        }
        if isSmooth { expectFiniteDifferences(replica, identity, labels, what, sourceLocation: location) }
    }

    private var identity: ReferenceTensor {
        var matrix = ReferenceTensor([rows, rows])
        for row in 0..<rows { matrix[row, row] = 1 }
        return matrix
    }

    private func fill(_ replica: TestReplica, _ x: [ReferenceTensor]) {
        for (index, input) in x.enumerated() {
            let rowsOfFeatures = flattened(input)
            var weight = ReferenceTensor([rowsOfFeatures.shape[1], rows])
            for row in 0..<rows { for j in 0..<weight.shape[0] { weight[j, row] = rowsOfFeatures[row, j] } }
            replica["table.\(index).weight"] = weight
        }
        for (name, value) in parameters { replica["layer.\(name)"] = value }
    }

    /// The columns of the table's weight (or its gradient) as inputs.
    private func columns(_ weight: ReferenceTensor, like x: ReferenceTensor) -> ReferenceTensor {
        var rowsOfFeatures = ReferenceTensor([rows, weight.shape[0]])
        for row in 0..<rows { for j in 0..<weight.shape[0] { rowsOfFeatures[row, j] = weight[j, row] } }
        guard x.shape.count > 2 else { return rowsOfFeatures }
        return ShapeOracle.flattenGradient(asImageShape(x.shape), outputGradient: rowsOfFeatures).reshaped(x.shape)
    }

    /// [N, …] as rows of features in PyTorch's order.
    private func flattened(_ x: ReferenceTensor) -> ReferenceTensor {
        x.shape.count == 2 ? x : ShapeOracle.flatten(x.reshaped(asImageShape(x.shape)))
    }

    private func asImageShape(_ shape: [Int]) -> [Int] { shape.count == 3 ? [shape[0], 1, shape[1], shape[2]] : shape }
}

/// Expects the loss to change along each parameter's gradient, and along a random direction, as the gradient says.
func expectFiniteDifferences(
    _ replica: TestReplica, _ inputs: ReferenceTensor, _ labels: [Int], _ what: String,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    replica.step(inputs, labels: labels)
    let gradients = replica.parameterNames.map { ($0, replica.gradient($0)) }
    for (name, gradient) in gradients {
        let start = replica[name]
        let length = gradient.dot(gradient).squareRoot()
        guard length > 1e-3 else { continue }
        // Small where the loss is steep, and with it curved.
        let step = 4e-3 / max(1, length / 4)
        let random = ReferenceTensor.random(gradient.shape, seed: 31).map { $0 < 0 ? -1 : 1 }
        let directions = [
            gradient.map { $0 / length }, random.map { $0 / Double(gradient.values.count).squareRoot() },
        ]
        for direction in directions {
            replica[name] = start + direction.map { $0 * step }
            let above = replica.step(inputs, labels: labels).sum
            replica[name] = start + direction.map { $0 * -step }
            let below = replica.step(inputs, labels: labels).sum
            replica[name] = start
            let slope = (above - below) / (2 * step)
            // The loss is fp32: its rounding, divided by the step, is the error of the slope.
            let allowed = 5e-3 * length + 4e-7 * max(1, abs(above)) / step
            #expect(
                abs(slope - gradient.dot(direction)) <= allowed,
                "\(what): finite difference of \(name) is \(slope), its gradient says \(gradient.dot(direction))",
                sourceLocation: sourceLocation)
        }
    }
}
