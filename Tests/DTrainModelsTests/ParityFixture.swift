import DTrainCheckpoint
import DTrainTensor
import Foundation
import Testing

/// What PyTorch computed for one model; `Fixtures/make_fixtures.py` describes the files and makes them.
struct ParityFixture {
    static let batch = 8
    static let steps = 10
    /// Large tensors are stored in pieces: this many elements at this stride, and the sums of rows and columns.
    private static let sampleCount = 2_048
    private static let sampleStride = 7_919
    private static let seed: UInt64 = 20_260

    let model: String
    private let tensors: [String: [Float]]

    init(_ model: String) throws {
        self.model = model
        tensors = try Dictionary(
            uniqueKeysWithValues: Self.file(model).tensors().map { ($0.name, $0.floats.array()) })
    }

    /// A tensor of the file, which must be there.
    func callAsFunction(_ name: String) throws -> [Float] {
        try #require(tensors[name], "the fixture of \(model) has no tensor \(name)")
    }

    /// The first values of parameter number `index` (PyTorch's order): uniform in ±1/√(fan in), from Philox.
    static func initialValues(index: Int, count: Int, fanIn: Int) -> [Float] {
        let random = CounterRandom(seed: seed, purpose: .initialisation, stream: UInt32(index))
        let bound = initialBound(fanIn: fanIn)
        return (0..<count).map { (2 * random.uniform(UInt64($0)) - 1) * bound }
    }

    static func initialBound(fanIn: Int) -> Float { Float(1 / Double(fanIn).squareRoot()) }

    /// Digits 8k ..< 8k + 8, normalised, and their labels.
    static func digits(batch k: Int) throws -> (images: MemorySlice<Float>, labels: MemorySlice<Int32>, owner: [NamedTensor]) {
        let file = try file("digits")
        let (images, labels) = (try file.tensor("images"), try file.tensor("labels"))
        return (
            images.floats[k * batch * 784..<(k + 1) * batch * 784], labels.memory.slice()[k * batch..<(k + 1) * batch],
            [images, labels]
        )
    }

    private static func file(_ name: String) throws -> SafetensorsFile {
        let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        return try SafetensorsFile(directory.appendingPathComponent("Fixtures/\(name).safetensors").path)
    }

    /// Expects `actual` (PyTorch's order, `rows` = its first extent) to match the tensor `name`: every difference at most
    /// `tolerance` × the larger of `scale` and the tensor's largest magnitude, plus `slack`.
    func expectMatch(
        _ actual: [Float], _ name: String, rows: Int, tolerance: Float, scale: Float = 0, slack: Float = 0,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let allowed = tolerance * max(scale, try largest(name)) + slack
        func compare(_ values: [Float], _ expected: [Float], _ what: String, terms: Int = 1) {
            // A sum of rounding errors grows like the root of their number; an error in one element still shows.
            expectWithin(
                values, expected, allowed * Float(terms).squareRoot(), "\(model) \(what)", sourceLocation: sourceLocation)
        }
        if let whole = tensors[name] { return compare(actual, whole, name) }
        let sample = (0..<Self.sampleCount).map { actual[$0 * Self.sampleStride % actual.count] }
        compare(sample, try self(name + ".sample"), name + ".sample")
        let columns = actual.count / rows
        var rowSums = [Double](repeating: 0, count: rows)
        var columnSums = [Double](repeating: 0, count: columns)
        for (index, value) in actual.enumerated() {
            rowSums[index / columns] += Double(value)
            columnSums[index % columns] += Double(value)
        }
        compare(rowSums.map(Float.init), try self(name + ".row_sums"), name + ".row_sums", terms: columns)
        compare(columnSums.map(Float.init), try self(name + ".column_sums"), name + ".column_sums", terms: rows)
    }

    /// The largest magnitude in the tensor `name`.
    func largest(_ name: String) throws -> Float {
        try tensors[name]?.reduce(0) { max($0, abs($1)) } ?? self(name + ".largest")[0]
    }

    /// The parameters that the file has gradients of.
    var parameterNames: Set<String> {
        Set(tensors.keys.filter { $0.hasPrefix("gradient.") }.map { name in
            let suffix = [".sample", ".row_sums", ".column_sums", ".largest"].first { name.hasSuffix($0) } ?? ""
            return String(name.dropFirst("gradient.".count).dropLast(suffix.count))
        })
    }

    /// The largest magnitude among the gradients of all parameters, say.
    func largest(ofAll prefix: String) throws -> Float {
        try parameterNames.reduce(0) { max($0, try largest(prefix + $1)) }
    }
}

/// Expects every element of `actual` within `allowed` of `expected`; names the worst one.
func expectWithin(
    _ actual: [Float], _ expected: [Float], _ allowed: Float, _ what: String,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    guard actual.count == expected.count else {
        Issue.record("\(what): \(actual.count) elements, expected \(expected.count)", sourceLocation: sourceLocation)
        return
    }
    let worst = actual.indices.max { left, right in
        let (a, b) = (abs(actual[left] - expected[left]), abs(actual[right] - expected[right]))
        return a < b || b.isNaN && !a.isNaN
    }
    guard let worst, !(abs(actual[worst] - expected[worst]) <= allowed) else { return }
    Issue.record(
        "\(what)[\(worst)]: \(actual[worst]), expected \(expected[worst]), allowed ±\(allowed)",
        sourceLocation: sourceLocation)
}
