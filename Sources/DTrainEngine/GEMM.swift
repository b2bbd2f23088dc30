internal import COpenBLAS

/// Matrix products on row-major fp32 matrices: OpenBLAS on the calling thread.
enum GEMM {
    enum Transposition { case no, yes }

    /// OpenBLAS must not start threads of its own: they would spin against the pool's and against other ranks.
    static let prepare: Void = openblas_set_num_threads(1)

    /// c[m × n] = a[m × k] · b[k × n] + beta · c, where `a` and `b` are transposed as given; `lda`, `ldb` and `ldc` are
    /// the floats from one stored row to the next.
    static func multiply(
        _ transposeA: Transposition, _ transposeB: Transposition, m: Int, n: Int, k: Int,
        a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>, ldb: Int, beta: Float,
        c: UnsafeMutablePointer<Float>, ldc: Int
    ) {
        guard m > 0, n > 0 else { return }
        func product(
            columns: Int, k: Int, a: UnsafePointer<Float>, b: UnsafePointer<Float>, beta: Float,
            c: UnsafeMutablePointer<Float>
        ) {
            cblas_sgemm(
                CblasRowMajor, transposeA == .no ? CblasNoTrans : CblasTrans,
                transposeB == .no ? CblasNoTrans : CblasTrans, blasint(m), blasint(columns), blasint(k), 1, a,
                blasint(lda), b, blasint(ldb), beta, c, blasint(ldc))
        }
        // For small products without transpositions OpenBLAS's AVX-512 kernels allocate when 1 to 8 columns are left beyond
        // a multiple of 16 and k is at least 32. A step allocates nothing, so those columns come in slices of k below that.
        let rest = n % 16
        guard transposeA == .no, transposeB == .no, (1...8).contains(rest), k >= 32, m * n * k <= 1_000_000 else {
            return product(columns: n, k: k, a: a, b: b, beta: beta, c: c)
        }
        let whole = n - rest
        if whole > 0 { product(columns: whole, k: k, a: a, b: b, beta: beta, c: c) }
        var first = 0
        while first < k {
            product(
                columns: rest, k: min(31, k - first), a: a + first, b: b + first * ldb + whole,
                beta: first == 0 ? beta : 1, c: c + whole)
            first += 31
        }
    }
}

/// The library of fp32 matrix products.
public enum OpenBLAS {
    /// The name of the kernels that it has chosen for this processor, or that OPENBLAS_CORETYPE names: `SkylakeX`, `Haswell`.
    public static var kernels: String { String(cString: openblas_get_corename()) }
}
