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
        cblas_sgemm(
            CblasRowMajor, transposeA == .no ? CblasNoTrans : CblasTrans, transposeB == .no ? CblasNoTrans : CblasTrans,
            blasint(m), blasint(n), blasint(k), 1, a, blasint(lda), b, blasint(ldb), beta, c, blasint(ldc))
    }

    /// The name of OpenBLAS's kernels on this machine (`SkylakeX`, `Haswell`) and its build's description.
    static var description: (core: String, configuration: String) {
        (String(cString: openblas_get_corename()), String(cString: openblas_get_config()))
    }
}
