internal import CKernels

/// The matrix products of a layer in a plan's precision: OpenBLAS, or dtrain's own kernel for factors that are rounded to
/// bf16. Sums, and all that is read and written, are fp32 in both.
struct MatrixProduct: Sendable {
    let isBF16: Bool

    /// Evaluation stays fp32, so that a model's predictions do not depend on how it was trained.
    ///
    /// - Parameters:
    ///   - inputs, outputs: the extents of the layer's weight, each the columns of one of its products.
    ///   - rows: the most rows of a run.
    init(_ extents: Extents, inputs: Int, outputs: Int, rows: Int) {
        isBF16 =
            extents.training && extents.precision == .bf16
            && Self.isFasterInBF16(inputs: inputs, outputs: outputs, rows: rows)
    }

    /// Whether rounding and packing the factors costs less than multiplying them in bf16 gains, on a Zen 4: twice the speed of
    /// OpenBLAS for most extents. With fewer than 4 rows a weight is packed for too few products, and fewer columns
    /// than a vector has lanes waste the rest of it.
    static func isFasterInBF16(inputs: Int, outputs: Int, rows: Int) -> Bool {
        min(inputs, outputs) >= 16 && rows >= 4
    }

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
        dt_bf16_multiply(
            dt_bf16_factor(start: a, stride: lda, along: transposeA == .no),
            dt_bf16_factor(start: b, stride: ldb, along: transposeB == .yes), m, n, k, accumulate, c, ldc, scratch)
    }
}
