internal import CKernels

/// The matrix products of a layer in a plan's precision: OpenBLAS, or dtrain's own kernel for factors that are rounded to
/// bf16. Sums, and all that is read and written, are fp32 in both.
struct MatrixProduct: Sendable {
    let isBF16: Bool

    init(isBF16: Bool) { self.isBF16 = isBF16 }

    /// Evaluation stays fp32, so that a model's predictions do not depend on how it was trained.
    ///
    /// - Parameters:
    ///   - inputs, outputs: the extents of the layer's weight, each the columns of one of its products.
    init(_ extents: Extents, inputs: Int, outputs: Int) {
        isBF16 =
            extents.training && extents.precision == .bf16
            && Self.isFasterInBF16(inputs: inputs, outputs: outputs)
    }

    /// Whether rounding and packing the factors costs less than multiplying them in bf16 gains, on a Zen 4: twice the speed of
    /// OpenBLAS from 4 rows on. Fewer columns than a vector has lanes waste the rest of it. The rows do not matter: ranks, whose
    /// shards may differ by one, compute alike.
    static func isFasterInBF16(inputs: Int, outputs: Int) -> Bool { min(inputs, outputs) >= 16 }

    /// Scratch memory that a product needs of each thread, in floats.
    var scratchCount: Int { isBF16 ? dt_bf16_scratch_count() : 0 }

    /// As `GEMM.multiply`: c[m × n] = a[m × k] · b[k × n] + c where it accumulates.
    ///
    /// - Parameter scratch: `scratchCount` floats of the calling thread.
    func multiply(
        _ transposeA: GEMM.Transposition, _ transposeB: GEMM.Transposition, m: Int, n: Int, k: Int,
        a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>, ldb: Int, accumulate: Bool,
        c: UnsafeMutablePointer<Float>, ldc: Int, scratch: UnsafeMutablePointer<Float>
    ) {
        guard isBF16 else {
            return GEMM.multiply(
                transposeA, transposeB, m: m, n: n, k: k, a: a, lda: lda, b: b, ldb: ldb, beta: accumulate ? 1 : 0,
                c: c, ldc: ldc)
        }
        guard m > 0, n > 0 else { return }
        dt_bf16_multiply(
            dt_bf16_factor(start: a, stride: lda, along: transposeA == .no),
            dt_bf16_factor(start: b, stride: ldb, along: transposeB == .yes), m, n, k, accumulate, c, ldc, scratch)
    }
}
