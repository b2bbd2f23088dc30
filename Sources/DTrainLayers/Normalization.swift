/// Local response normalisation over neighbouring channels of a pixel (Krizhevsky et al. 2012):
/// y[c] = x[c] / (k + alpha / size · Σ x[c']²)^beta, the sum over c − size/2 ≤ c' ≤ c + (size − 1)/2.
///
/// The output has the input's shape; there are no parameters. PyTorch divides alpha by the size, and so does this; the
/// paper's α = 10⁻⁴ over 5 channels with k = 2 is `alpha: 5e-4, k: 2`.
public func localResponseNorm(_ x: Value, size: Int, alpha: Float = 1e-4, beta: Float = 0.75, k: Float = 1) -> Value {
    x.applying(LocalResponseNorm(size: size, alpha: alpha, beta: beta, k: k))
}
