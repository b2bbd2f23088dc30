import Testing

/// Expects `actual` to equal `expected` within `tolerance` × the larger of `scale` and the largest |expected|.
///
/// Compares element by element and names the worst one, so that a failure says where to look.
public func expectClose(
    _ actual: [Float], _ expected: [Float], tolerance: Float, scale: Float = 0, _ what: String = "values",
    sourceLocation: SourceLocation = #_sourceLocation
) {
    guard actual.count == expected.count else {
        Issue.record("\(what): \(actual.count) elements, expected \(expected.count)", sourceLocation: sourceLocation)
        return
    }
    let largest = max(scale, expected.reduce(0) { max($0, abs($1)) })
    var worst = (index: 0, difference: Float(-1))
    for index in actual.indices {
        let difference = abs(actual[index] - expected[index])
        if !(difference <= worst.difference) { worst = (index, difference) }
        if difference.isNaN { break }
    }
    guard worst.difference >= 0 || worst.difference.isNaN else { return }
    #expect(
        worst.difference <= tolerance * largest,
        "\(what)[\(worst.index)]: \(actual[worst.index]), expected \(expected[worst.index]) (largest |expected| \(largest))",
        sourceLocation: sourceLocation)
}
