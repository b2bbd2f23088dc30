internal import CKernels
internal import DTrainTensor

/// The geometry of a window that slides over an image, (height, width) each; a sequence is an image of height 1.
public struct WindowGeometry: Hashable, Sendable {
    public var kernel: Pair
    public var stride: Pair
    public var padding: Pair
    public var dilation: Pair

    public init(kernel: Pair, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1) {
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
    }

    /// ⌊(extent + 2 · padding − dilation · (kernel − 1) − 1) / stride⌋ + 1, for height and width.
    /// With `ceilMode` the quotient is rounded up, but a window that would start beyond the image and its left padding is
    /// left out (PyTorch's ceil_mode).
    /// Throws where a number makes no sense or the window is larger than the padded image.
    func outputExtents(_ image: (height: Int, width: Int), ceilMode: Bool = false) throws -> (height: Int, width: Int) {
        func extent(_ name: String, _ size: Int, _ kernel: Int, _ stride: Int, _ padding: Int, _ dilation: Int) throws
            -> Int
        {
            guard kernel >= 1, stride >= 1, padding >= 0, dilation >= 1 else {
                throw ShapeMismatch(
                    "kernel \(kernel), stride \(stride) and dilation \(dilation) must be at least 1 "
                        + "and padding \(padding) at least 0")
            }
            let reach = dilation * (kernel - 1) + 1
            let beyond = ceilMode ? stride - 1 : 0
            guard size + 2 * padding + beyond >= reach else {
                throw ShapeMismatch(
                    "a window of \(reach) does not fit an input of \(name) \(size) with padding \(padding)")
            }
            let count = (size + 2 * padding + beyond - reach) / stride + 1
            return ceilMode && (count - 1) * stride >= size + padding ? count - 1 : count
        }
        return (
            try extent("height", image.height, kernel.height, stride.height, padding.height, dilation.height),
            try extent("width", image.width, kernel.width, stride.width, padding.width, dilation.width)
        )
    }

    func cWindow(input: Shape, output: Shape) -> dt_window {
        dt_window(
            height: input.imageHeight, width: input.imageWidth, output_height: output.imageHeight,
            output_width: output.imageWidth, kernel_height: kernel.height, kernel_width: kernel.width,
            stride_height: stride.height, stride_width: stride.width, padding_height: padding.height,
            padding_width: padding.width, dilation_height: dilation.height, dilation_width: dilation.width)
    }
}

/// A height and a width; a plain number stands for both.
public struct Pair: Hashable, Sendable, ExpressibleByIntegerLiteral, CustomStringConvertible {
    public var height: Int
    public var width: Int

    public init(_ height: Int, _ width: Int) {
        self.height = height
        self.width = width
    }
    public init(integerLiteral value: Int) { self.init(value, value) }
    public var description: String { height == width ? "\(height)" : "\(height)×\(width)" }
}

extension Shape {
    /// Height, width and channels of an image (height × width × channels) or of a sequence (length × channels).
    var imageHeight: Int { rank == 3 ? self[0] : 1 }
    var imageWidth: Int { rank == 3 ? self[1] : self[0] }
    var imageChannels: Int { self[rank - 1] }

    /// The same kind of shape with other extents.
    func image(height: Int, width: Int, channels: Int) -> Shape {
        rank == 3 ? [height, width, channels] : [width, channels]
    }

    /// Throws unless this is an image or a sequence.
    func requireImage(_ what: String) throws {
        guard rank == 2 || rank == 3 else {
            throw ShapeMismatch(
                "\(what) needs an image (height × width × channels) or a sequence (length × channels), "
                    + "but its input is \(self)")
        }
    }
}
