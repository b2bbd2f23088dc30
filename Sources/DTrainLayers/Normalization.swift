internal import DTrainTensor

/// Local response normalisation over neighbouring channels of a pixel (Krizhevsky et al. 2012):
/// y[c] = x[c] / (k + alpha / size · Σ x[c']²)^beta, the sum over c − size/2 ≤ c' ≤ c + (size − 1)/2.
///
/// The output has the input's shape; there are no parameters. PyTorch divides alpha by the size, and so does this; the
/// paper's α = 10⁻⁴ over 5 channels with k = 2 is `alpha: 5e-4, k: 2`.
public func localResponseNorm(_ x: Value, size: Int, alpha: Float = 1e-4, beta: Float = 0.75, k: Float = 1) -> Value {
    x.applying(LocalResponseNorm(size: size, alpha: alpha, beta: beta, k: k))
}

/// Group normalisation (Wu and He 2018; PyTorch's GroupNorm): y = (x − mean) / √(variance + epsilon) · weight + bias, with
/// the mean and the biased variance of each sample over all pixels of channels / groups neighbouring channels.
///
/// Input: an image, a sequence or features; the output has its shape. Parameters, if `affine`: `weight` (ones at first) and
/// `bias` (zeros), one a channel. The number of groups must divide that of channels.
public final class GroupNorm: Module {
    let groups: Int
    let epsilon: Float
    let affine: Bool

    /// - Parameters:
    ///   - groups: 1 normalises the sample as a whole, with weights for each channel.
    ///   - affine: whether there are a weight and a bias.
    public init(_ groups: Int, epsilon: Float = 1e-5, affine: Bool = true) {
        self.groups = groups
        self.epsilon = epsilon
        self.affine = affine
    }

    public func callAsFunction(_ x: Value) -> Value {
        normalize(x, self, .groups(groups), epsilon, affine, [x.shape.dimensions.last ?? 1], .plain)
    }
}

/// Instance normalisation (Ulyanov et al. 2016; PyTorch's InstanceNorm2d without running statistics): every channel of every
/// sample by itself, over its pixels. Parameters only if `affine`: `weight` (ones at first) and `bias` (zeros), one a channel.
public final class InstanceNorm2d: Module {
    let epsilon: Float
    let affine: Bool

    public init(epsilon: Float = 1e-5, affine: Bool = false) {
        self.epsilon = epsilon
        self.affine = affine
    }

    public func callAsFunction(_ x: Value) -> Value {
        guard x.shape.rank == 3 else {
            x.fail(self, "InstanceNorm2d needs an image (height × width × channels), but its input is \(x.shape)")
            return x
        }
        return normalize(x, self, .groups(x.shape[2]), epsilon, affine, [x.shape[2]], .plain)
    }
}

/// Layer normalisation (Ba et al. 2016; PyTorch's LayerNorm): y = (x − mean) / √(variance + epsilon) · weight + bias, with the
/// mean and the biased variance over the extent that is chosen. The output has the input's shape.
public final class LayerNorm: Module {
    /// What is normalised together.
    public enum Extent: Sendable {
        /// The features, or the channels of each step of a sequence or each pixel of an image. `weight` and `bias` have one
        /// element a channel (PyTorch: `normalized_shape` C, of an image with its channels last).
        case channels
        /// The whole sample. `weight` and `bias` have its shape as PyTorch orders it: channels × height × width of an image,
        /// length × channels of a sequence.
        case sample
    }

    let extent: Extent
    let epsilon: Float
    let affine: Bool

    /// - Parameters:
    ///   - extent: the last extent by default.
    ///   - affine: whether there are a weight (ones at first) and a bias (zeros).
    public init(over extent: Extent = .channels, epsilon: Float = 1e-5, affine: Bool = true) {
        self.extent = extent
        self.epsilon = epsilon
        self.affine = affine
    }

    public func callAsFunction(_ x: Value) -> Value {
        let shape = x.shape
        guard extent == .sample else {
            return normalize(x, self, .channels, epsilon, affine, [shape.dimensions.last ?? 1], .plain)
        }
        guard shape.rank == 3 else { return normalize(x, self, .sample, epsilon, affine, shape, .plain) }
        let order = StorageOrder.flattenedImage(outputs: 1, height: shape[0], width: shape[1], channels: shape[2])
        return normalize(x, self, .sample, epsilon, affine, [shape[2], shape[0], shape[1]], order)
    }
}

private func normalize(
    _ x: Value, _ layer: any Module, _ extent: Normalization.Extent, _ epsilon: Float, _ affine: Bool, _ shape: Shape,
    _ order: StorageOrder
) -> Value {
    let operation = Normalization(extent, epsilon: epsilon, isAffine: affine)
    guard affine else { return x.applying(operation, layer: layer) }
    return x.applying(
        operation, layer: layer,
        parameters: [
            (name: "weight", shape: shape, order: order, initializer: .constant(1)),
            (name: "bias", shape: shape, order: order, initializer: .constant(0)),
        ])
}
