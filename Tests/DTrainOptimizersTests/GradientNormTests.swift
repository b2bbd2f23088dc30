import DTrainOptimizers
import DTrainTensor
import Testing

@Suite struct GradientNormTests {
    static func gradients(_ count: Int) -> AlignedMemory {
        let memory = AlignedMemory(byteCount: count * 4)
        let random = CounterRandom(seed: 9, purpose: .synthetic)
        for i in 0..<count { memory.slice(of: Float.self)[i] = random.uniform(UInt64(i)) * 2 - 1 }
        return memory
    }

    @Test(arguments: [1, 15, 17, 4096, 4097, 50_003])
    func equalsTheSquareRootOfTheSumWhateverTheThreads(count: Int) {
        let memory = Self.gradients(count)
        let slice = memory.slice(of: Float.self)[0..<count]
        let expected = 0.25 * slice.array().reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        let norm = GradientNorm(count: count)
        let values = [1, 2, 3, 5].map { norm.norm(of: slice, scale: 0.25, pool: ThreadPool(threadCount: $0)) }
        #expect(abs(values[0] - expected) <= 1e-12 * expected)
        #expect(values.allSatisfy { $0 == values[0] })
    }

    @Test func doesNotOverflowWhereFloatWould() {
        let memory = AlignedMemory(byteCount: 8)
        memory.slice(of: Float.self).fill(1e30)
        let norm = GradientNorm(count: 2)
            .norm(of: memory.slice(of: Float.self)[0..<2], scale: 1, pool: ThreadPool(threadCount: 1))
        #expect(abs(norm - 2.0.squareRoot() * 1e30) < 1e24)
    }

    @Test(arguments: [Float.nan, .infinity, -.infinity], [0, 16, 4999]) func findsOneBadValue(value: Float, at: Int) {
        let memory = Self.gradients(5000)
        let slice = memory.slice(of: Float.self)[0..<5000]
        let pool = ThreadPool(threadCount: 2)
        let norm = GradientNorm(count: 5000)
        #expect(GradientNorm.isFinite(slice))
        #expect(norm.norm(of: slice, scale: 1, pool: pool).isFinite)
        slice[at] = value
        #expect(!GradientNorm.isFinite(slice))
        #expect(!norm.norm(of: slice, scale: 1, pool: pool).isFinite)
    }

    @Test func largestFiniteValuesAreFinite() {
        let memory = AlignedMemory(byteCount: 64)
        memory.slice(of: Float.self).fill(-Float.greatestFiniteMagnitude)
        #expect(GradientNorm.isFinite(memory.slice(of: Float.self)[0..<16]))
    }

    @Test func clipFactorLimitsOnlyWhatIsLonger() {
        #expect(GradientNorm.clipFactor(norm: 0.5, limit: 1) == 1)
        #expect(GradientNorm.clipFactor(norm: 0, limit: 1) == 1)
        #expect(abs(GradientNorm.clipFactor(norm: 4, limit: 1) - 1 / 4.000001) < 1e-15)
        #expect(GradientNorm.clipFactor(norm: .nan, limit: 1).isNaN)
    }
}
