@_exported public import DTrainEngine
internal import DTrainTensor

/// A convolution over an image (PyTorch's Conv2d).
///
/// y[o] = b[o] + Σ over input channels of weight[o, i] ⋆ x[i] (cross-correlation).
///
/// Input height × width × channels; output ⌊(extent + 2 · padding − dilation · (kernel − 1) − 1) / stride⌋ + 1 in each
/// direction, `channels` channels. Parameters: `weight` channels × input channels / groups × kernel height × kernel width,
/// `bias` channels.
public final class Conv2d: Module {
    let channels: Int
    let geometry: WindowGeometry
    let groups: Int
    let bias: Bool
    let initializer: Initializer
    let biasInitializer: Initializer?

    /// - Parameters:
    ///   - channels: output channels; the input's are found when the model is traced.
    ///   - groups: input and output channels are split into this many independent convolutions.
    ///   - bias: whether a bias is added.
    ///   - initializer: of the weight.
    ///   - biasInitializer: of the bias; nil is PyTorch's default, uniform in ±1/√fan-in of the weight.
    public init(
        _ channels: Int, kernel: Pair, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, groups: Int = 1,
        bias: Bool = true, initializer: Initializer = .standardWeight, biasInitializer: Initializer? = nil
    ) {
        self.channels = channels
        geometry = WindowGeometry(kernel: kernel, stride: stride, padding: padding, dilation: dilation)
        self.groups = groups
        self.bias = bias
        self.initializer = initializer
        self.biasInitializer = biasInitializer
    }

    public func callAsFunction(_ x: Value) -> Value {
        guard x.shape.rank == 3 else {
            x.fail(self, "Conv2d needs an image (height × width × channels), but its input is \(x.shape)")
            return x
        }
        return convolve(x, self, channels, geometry, groups, bias, initializer, biasInitializer)
    }
}

/// A convolution over a sequence (PyTorch's Conv1d).
///
/// Input length × channels; output length as for `Conv2d`. Parameters: `weight` channels × input channels / groups ×
/// kernel, `bias` channels.
public final class Conv1d: Module {
    let channels: Int
    let geometry: WindowGeometry
    let groups: Int
    let bias: Bool
    let initializer: Initializer
    let biasInitializer: Initializer?

    /// As `Conv2d`'s, in one dimension.
    public init(
        _ channels: Int, kernel: Int, stride: Int = 1, padding: Int = 0, dilation: Int = 1, groups: Int = 1,
        bias: Bool = true, initializer: Initializer = .standardWeight, biasInitializer: Initializer? = nil
    ) {
        self.channels = channels
        geometry = WindowGeometry(
            kernel: Pair(1, kernel), stride: Pair(1, stride), padding: Pair(0, padding), dilation: Pair(1, dilation))
        self.groups = groups
        self.bias = bias
        self.initializer = initializer
        self.biasInitializer = biasInitializer
    }

    public func callAsFunction(_ x: Value) -> Value {
        guard x.shape.rank == 2 else {
            x.fail(self, "Conv1d needs a sequence (length × channels), but its input is \(x.shape)")
            return x
        }
        return convolve(x, self, channels, geometry, groups, bias, initializer, biasInitializer)
    }
}

private func convolve(
    _ x: Value, _ layer: any Module, _ channels: Int, _ geometry: WindowGeometry, _ groups: Int, _ bias: Bool,
    _ initializer: Initializer, _ biasInitializer: Initializer?
) -> Value {
    let inputs = x.shape.dimensions.last!
    guard groups >= 1, channels >= 1, inputs % groups == 0, channels % groups == 0 else {
        x.fail(layer, "\(groups) groups do not divide \(inputs) input and \(channels) output channels")
        return x
    }
    let (height, width) = (geometry.kernel.height, geometry.kernel.width)
    let shape: Shape =
        x.shape.rank == 3 ? [channels, inputs / groups, height, width] : [channels, inputs / groups, width]
    let order = StorageOrder.convolution(outputs: channels, inputs: inputs / groups, height: height, width: width)
    return x.applying(
        Convolution(outputs: channels, geometry: geometry, groups: groups, hasBias: bias), layer: layer,
        parameters: parameters(weight: shape, order, initializer, bias: bias ? channels : nil, biasInitializer))
}

/// A weight and, where wanted, a bias of so many elements; its initialiser defaults to PyTorch's for the weight's fan-in.
func parameters(
    weight shape: Shape, _ order: StorageOrder, _ initializer: Initializer, bias: Int?, _ biasInitializer: Initializer?
) -> [(name: String, shape: Shape, order: StorageOrder, initializer: Initializer)] {
    let weight = (name: "weight", shape: shape, order: order, initializer: initializer)
    guard let bias else { return [weight] }
    let fanIn = shape.dimensions.dropFirst().reduce(1, *)
    let initializer = biasInitializer ?? .standardBias(fanIn: fanIn)
    return [weight, (name: "bias", shape: [bias], order: .plain, initializer: initializer)]
}

/// The adjoint of a convolution over an image, which makes it larger (PyTorch's ConvTranspose2d; Zeiler et al. 2010).
///
/// Every input pixel adds its value times the kernel to a window of the output:
/// y[p · stride − padding + i · dilation] += x[p] · weight[i], plus the bias.
///
/// Input height × width × channels; output (extent − 1) · stride − 2 · padding + dilation · (kernel − 1) + output padding + 1
/// in each direction, `channels` channels. Parameters: `weight` input channels × channels / groups × kernel height × kernel
/// width, `bias` channels.
public final class ConvTranspose2d: Module {
    let channels: Int
    let geometry: WindowGeometry
    let outputPadding: Pair
    let groups: Int
    let bias: Bool
    let initializer: Initializer
    let biasInitializer: Initializer?

    /// - Parameters:
    ///   - channels: output channels; the input's are found when the model is traced.
    ///   - padding: lines and columns cut off on each side of the output.
    ///   - outputPadding: lines and columns added at the bottom and on the right; less than stride or dilation.
    ///   - groups: input and output channels are split into this many independent convolutions.
    ///   - bias: whether a bias is added.
    ///   - initializer: of the weight.
    ///   - biasInitializer: of the bias; nil is PyTorch's default, uniform in ±1/√fan-in of the weight.
    public init(
        _ channels: Int, kernel: Pair, stride: Pair = 1, padding: Pair = 0, outputPadding: Pair = 0, dilation: Pair = 1,
        groups: Int = 1, bias: Bool = true, initializer: Initializer = .standardWeight,
        biasInitializer: Initializer? = nil
    ) {
        self.channels = channels
        geometry = WindowGeometry(kernel: kernel, stride: stride, padding: padding, dilation: dilation)
        self.outputPadding = outputPadding
        self.groups = groups
        self.bias = bias
        self.initializer = initializer
        self.biasInitializer = biasInitializer
    }

    public func callAsFunction(_ x: Value) -> Value {
        guard x.shape.rank == 3 else {
            x.fail(self, "ConvTranspose2d needs an image (height × width × channels), but its input is \(x.shape)")
            return x
        }
        let inputs = x.shape[2]
        guard groups >= 1, channels >= 1, inputs % groups == 0, channels % groups == 0 else {
            x.fail(self, "\(groups) groups do not divide \(inputs) input and \(channels) output channels")
            return x
        }
        let (height, width) = (geometry.kernel.height, geometry.kernel.width)
        let order = StorageOrder.convolution(outputs: inputs, inputs: channels / groups, height: height, width: width)
        return x.applying(
            TransposedConvolution(
                outputs: channels, geometry: geometry, outputPadding: outputPadding, groups: groups, hasBias: bias),
            layer: self,
            parameters: parameters(
                weight: [inputs, channels / groups, height, width], order, initializer, bias: bias ? channels : nil,
                biasInitializer))
    }
}
