import DTrainTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension CounterRandom {
    /// A number of the distribution Beta(`alpha`, `alpha`), drawn from the counters from `index` on, at most 512 of them.
    ///
    /// x / (x + y) of two gamma variables, taken in logarithms: for a small α both are too small for a number.
    package func beta(_ alpha: Double, _ index: UInt64) -> Double {
        1 / (1 + exp(logarithmOfGamma(alpha, index + 256) - logarithmOfGamma(alpha, index)))
    }

    /// The logarithm of a gamma variable of shape `shape`, from at most 256 counters (Marsaglia & Tsang 2000, "A simple
    /// method for generating gamma variables"; below 1, a variable of shape + 1 times u^(1 / shape)).
    private func logarithmOfGamma(_ shape: Double, _ index: UInt64) -> Double {
        if shape < 1 {
            return logarithmOfGamma(shape + 1, index + 1) + log(open(words(index).0)) / shape
        }
        let d = shape - 1.0 / 3, c = 1 / (9 * d).squareRoot()
        // Each attempt fails with a probability below 0.05.
        for attempt in 0..<250 as Range<UInt64> {
            let words = words(index + attempt)
            let normal = (-2 * log(open(words.0))).squareRoot() * cos(2 * .pi * open(words.1))
            let root = 1 + c * normal
            guard root > 0 else { continue }
            let cube = root * root * root
            if log(open(words.2)) < normal * normal / 2 + d - d * cube + d * log(cube) { return log(d * cube) }
        }
        return log(d)
    }

    /// A number in the open interval 0 … 1.
    private func open(_ word: UInt32) -> Double { (Double(word) + 0.5) * 0x1p-32 }
}
