import Testing

/// The gradient of `function` at `x` by central differences, element by element: error O(step²).
func numericalGradient(at x: ReferenceTensor, step: Double = 1e-5, _ function: (ReferenceTensor) -> Double)
    -> ReferenceTensor
{
    var gradient = ReferenceTensor(x.shape)
    for index in x.values.indices {
        var moved = x
        moved.values[index] = x.values[index] + step
        let above = function(moved)
        moved.values[index] = x.values[index] - step
        gradient.values[index] = (above - function(moved)) / (2 * step)
    }
    return gradient
}

/// Expects equal shapes and elements within `tolerance` × max(1, largest |expected|); names the worst element.
func expectClose(
    _ actual: ReferenceTensor, _ expected: ReferenceTensor, tolerance: Double, _ what: String,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    guard actual.shape == expected.shape else {
        Issue.record("\(what): shape \(actual.shape), expected \(expected.shape)", sourceLocation: sourceLocation)
        return
    }
    let scale = expected.values.reduce(1) { max($0, abs($1)) }
    for index in actual.values.indices {
        let difference = abs(actual.values[index] - expected.values[index])
        guard difference <= tolerance * scale else {
            Issue.record(
                "\(what)[\(index)]: \(actual.values[index]), expected \(expected.values[index])",
                sourceLocation: sourceLocation)
            return
        }
    }
}
