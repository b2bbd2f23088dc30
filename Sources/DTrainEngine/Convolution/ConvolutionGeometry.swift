internal import CKernels
internal import DTrainTensor

/// What every way of computing a convolution needs to know; counts are floats.
struct ConvolutionGeometry: Sendable {
    let window: dt_window
    let groups: Int
    let inputsPerGroup: Int
    let outputsPerGroup: Int

    init(_ operation: Convolution, input: Shape, output: Shape) {
        window = operation.geometry.cWindow(input: input, output: output)
        groups = operation.groups
        inputsPerGroup = input.imageChannels / operation.groups
        outputsPerGroup = operation.outputs / operation.groups
    }

    var inputs: Int { inputsPerGroup * groups }
    var outputs: Int { outputsPerGroup * groups }
    var inputPixels: Int { window.height * window.width }
    var inputCount: Int { inputPixels * inputs }
    var outputPixels: Int { window.output_height * window.output_width }
    /// Elements of the window over one group's channels: a row of the weight.
    var rowLength: Int { window.kernel_height * window.kernel_width * inputsPerGroup }
    var weightCount: Int { outputs * rowLength }
    /// Every channel has a kernel of its own and sees itself alone.
    var isDepthwise: Bool { groups > 1 && inputsPerGroup == 1 && outputsPerGroup == 1 }
    var isDilated: Bool { window.dilation_height != 1 || window.dilation_width != 1 }
    var hasUnitStride: Bool { window.stride_height == 1 && window.stride_width == 1 }
    /// Whether the input gradient of stride 1 is a correlation with the kernel turned: padding is less than the kernel.
    var canTurn: Bool {
        window.padding_height < window.kernel_height && window.padding_width < window.kernel_width
    }
    /// The window of that correlation, from the output to the input, padded by kernel − 1 − padding.
    var turnedWindow: dt_window {
        var turned = window
        (turned.height, turned.output_height) = (window.output_height, window.height)
        (turned.width, turned.output_width) = (window.output_width, window.width)
        turned.padding_height = window.kernel_height - 1 - window.padding_height
        turned.padding_width = window.kernel_width - 1 - window.padding_width
        return turned
    }
    /// Calls `body` for input lines, counted over all samples, as bands: whole samples together, and what there is of others.
    func forEachBand(of lines: Range<Int>, _ body: (_ band: InputBand) -> Void) {
        var first = lines.lowerBound
        while first < lines.upperBound {
            let (sample, line) = first.quotientAndRemainder(dividingBy: window.height)
            let samples = (lines.upperBound - first) / window.height
            let band =
                line == 0 && samples > 0
                ? InputBand(self, samples: sample..<sample + samples)
                : InputBand(self, sample: sample, lines: line..<min(window.height, line + lines.upperBound - first))
            body(band)
            first = band.inputs.upperBound
        }
    }
    /// A 1×1 convolution of stride 1 without padding: a product of matrices as they lie.
    var isPointwise: Bool {
        window.kernel_height == 1 && window.kernel_width == 1 && hasUnitStride && window.padding_height == 0
            && window.padding_width == 0 && groups == 1
    }
}
