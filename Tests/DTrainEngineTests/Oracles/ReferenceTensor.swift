import DTrainTensor

/// A row-major array of doubles with a shape: what the oracles compute with. Slow, plain and checked.
struct ReferenceTensor: Equatable {
    var shape: [Int]
    var values: [Double]

    /// All elements `value`.
    init(_ shape: [Int], filledWith value: Double = 0) {
        self.shape = shape
        values = [Double](repeating: value, count: shape.reduce(1, *))
    }

    init(_ shape: [Int], _ values: [Double]) {
        precondition(shape.reduce(1, *) == values.count, "\(values.count) values for shape \(shape)")
        self.shape = shape
        self.values = values
    }

    /// Elements uniform in `range`, each a multiple of 2⁻²⁴ × its width rounded to a `Float`, so that the engine can hold them exactly.
    static func random(_ shape: [Int], seed: Int, in range: ClosedRange<Float> = -1...1) -> ReferenceTensor {
        let random = CounterRandom(seed: UInt64(seed), purpose: .synthetic)
        let width = range.upperBound - range.lowerBound
        return ReferenceTensor(
            shape, (0..<shape.reduce(1, *)).map { Double(range.lowerBound + width * random.uniform(UInt64($0))) })
    }

    var floats: [Float] { values.map(Float.init) }

    subscript(_ i: Int, _ j: Int) -> Double {
        get { values[i * shape[1] + j] }
        set { values[i * shape[1] + j] = newValue }
    }

    subscript(_ i: Int, _ j: Int, _ k: Int, _ l: Int) -> Double {
        get { values[offset(i, j, k, l)] }
        set { values[offset(i, j, k, l)] = newValue }
    }

    private func offset(_ i: Int, _ j: Int, _ k: Int, _ l: Int) -> Int {
        precondition(shape.count == 4 && i >= 0 && i < shape[0] && j >= 0 && j < shape[1])
        precondition(k >= 0 && k < shape[2] && l >= 0 && l < shape[3])
        return ((i * shape[1] + j) * shape[2] + k) * shape[3] + l
    }

    func reshaped(_ shape: [Int]) -> ReferenceTensor { ReferenceTensor(shape, values) }
    func map(_ function: (Double) -> Double) -> ReferenceTensor { ReferenceTensor(shape, values.map(function)) }

    static func + (left: ReferenceTensor, right: ReferenceTensor) -> ReferenceTensor { left.combined(right, +) }
    static func * (left: ReferenceTensor, right: ReferenceTensor) -> ReferenceTensor { left.combined(right, *) }
    private func combined(_ other: ReferenceTensor, _ function: (Double, Double) -> Double) -> ReferenceTensor {
        precondition(shape == other.shape)
        return ReferenceTensor(shape, zip(values, other.values).map(function))
    }

    /// Σ aᵢ bᵢ.
    func dot(_ other: ReferenceTensor) -> Double { (self * other).values.reduce(0, +) }
}
