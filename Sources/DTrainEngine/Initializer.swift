#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif
package import DTrainTensor

/// How a parameter gets its first values.
///
/// The fan-in of a weight is its elements per output, the fan-out its elements per input, as PyTorch counts them.
public enum Initializer: Hashable, Sendable {
    case constant(Float)
    case uniform(lower: Float, upper: Float)
    case normal(mean: Float = 0, standardDeviation: Float)
    /// Standard normal, but for one row of zeros: an embedding's padding.
    case normalRows(zeroRow: Int)
    /// Normal, drawn again where it falls outside `lower` … `upper`, which must hold at least a hundredth of the
    /// distribution.
    case truncatedNormal(mean: Float = 0, standardDeviation: Float, lower: Float, upper: Float)
    /// Uniform in ±√(6 / ((1 + slope²) · fan-in)) (He et al. 2015). PyTorch's default for weights has slope √5, which is
    /// ±1/√fan-in.
    case kaimingUniform(slope: Float = 0, fan: Fan = .input)
    /// Normal with variance 2 / ((1 + slope²) · fan) (He et al. 2015).
    case kaimingNormal(slope: Float = 0, fan: Fan = .input)
    /// Uniform in ±gain · √(6 / (fan-in + fan-out)) (Glorot and Bengio 2010).
    case xavierUniform(gain: Float = 1)
    /// Normal with variance gain² · 2 / (fan-in + fan-out) (Glorot and Bengio 2010).
    case xavierNormal(gain: Float = 1)

    public enum Fan: Hashable, Sendable { case input, output }

    /// PyTorch's default for the weights of convolutions and linear layers.
    public static let standardWeight = Initializer.kaimingUniform(slope: Float(5).squareRoot())

    /// PyTorch's default for their biases: uniform in ±1/√fan-in.
    public static func standardBias(fanIn: Int) -> Initializer {
        let bound = 1 / Float(max(fanIn, 1)).squareRoot()
        return .uniform(lower: -bound, upper: bound)
    }

    /// The values of the parameter `name`, by their positions in PyTorch's order: a function of seed, name and position alone.
    package func values(name: String, shape: Shape, seed: UInt64) -> (Int) -> Float {
        let random = CounterRandom(
            seed: seed, purpose: .initialisation, stream: UInt32(truncatingIfNeeded: fnv1a(name)))
        let receptiveField = shape.dimensions.dropFirst(2).reduce(1, *)
        let fanIn = Float(shape.rank > 1 ? shape[1] * receptiveField : shape.count)
        let fanOut = Float(shape.rank > 1 ? shape[0] * receptiveField : shape.count)

        func uniform(_ lower: Float, _ upper: Float) -> (Int) -> Float {
            { lower + (upper - lower) * random.uniform(UInt64($0)) }
        }
        /// Box and Muller's transformation of the two uniform numbers that belong to a counter.
        func standardNormal(_ counter: UInt64) -> Float {
            let words = random.words(counter)
            let radius = (-2 * log((Double(words.0) + 1) * 0x1p-32)).squareRoot()
            return Float(radius * cos(2 * Double.pi * Double(words.1) * 0x1p-32))
        }
        func normal(_ mean: Float, _ standardDeviation: Float) -> (Int) -> Float {
            { mean + standardDeviation * standardNormal(UInt64($0)) }
        }

        switch self {
        case .constant(let value): return { _ in value }
        case .uniform(let lower, let upper): return uniform(lower, upper)
        case .normal(let mean, let standardDeviation): return normal(mean, standardDeviation)
        case .normalRows(let zeroRow):
            let width = shape.count / shape[0]
            return { $0 / width == zeroRow ? 0 : standardNormal(UInt64($0)) }
        case .truncatedNormal(let mean, let standardDeviation, let lower, let upper):
            let (low, high) = (Double(lower - mean), Double(upper - mean))
            let scale = Double(standardDeviation) * 2.0.squareRoot()
            precondition(
                erf(high / scale) - erf(low / scale) >= 0.02,
                "a normal distribution around \(mean) ± \(standardDeviation) hardly reaches \(lower) … \(upper)")
            return { index in
                // Each further try has counters of its own.
                var counter = UInt64(index)
                while true {
                    let value = mean + standardDeviation * standardNormal(counter)
                    if lower <= value && value <= upper { return value }
                    counter += 1 << 40
                }
            }
        case .kaimingUniform(let slope, let fan):
            let bound = (6 / ((1 + slope * slope) * (fan == .input ? fanIn : fanOut))).squareRoot()
            return uniform(-bound, bound)
        case .kaimingNormal(let slope, let fan):
            return normal(0, (2 / ((1 + slope * slope) * (fan == .input ? fanIn : fanOut))).squareRoot())
        case .xavierUniform(let gain):
            let bound = gain * (6 / (fanIn + fanOut)).squareRoot()
            return uniform(-bound, bound)
        case .xavierNormal(let gain): return normal(0, gain * (2 / (fanIn + fanOut)).squareRoot())
        }
    }
}

/// The 64-bit FNV-1a hash of a text (Fowler, Noll, Vo): short, and the same on every machine.
package func fnv1a(_ text: String) -> UInt64 {
    text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
}
