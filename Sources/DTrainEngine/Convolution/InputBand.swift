internal import CKernels

/// Whole images, or some lines of one: what is computed of an input's gradient at once.
struct InputBand {
    /// Input lines, counted over all samples.
    let inputs: Range<Int>
    /// The output lines whose windows see any of these, counted over all samples.
    let outputs: Range<Int>
    /// The window as it slides over the band as if that were all there is: its output lines are `outputs`. The padding above is
    /// negative where the first window begins below the band's first line.
    let window: dt_window
    private let channels: Int

    init(_ geometry: ConvolutionGeometry, samples: Range<Int>) {
        window = geometry.window
        inputs = samples.scaled(by: window.height)
        outputs = samples.scaled(by: window.output_height)
        channels = geometry.inputs
    }

    init(_ geometry: ConvolutionGeometry, sample: Int, lines: Range<Int>) {
        var window = geometry.window
        let reach = (window.kernel_height - 1) * window.dilation_height
        // Output line o sees the input lines from o · stride − padding to that + reach.
        let first =
            max(0, lines.lowerBound + window.padding_height - reach + window.stride_height - 1)
            / window.stride_height
        let end = min(window.output_height, (lines.upperBound - 1 + window.padding_height) / window.stride_height + 1)
        let seeing = first..<max(first, end)
        inputs = lines.shifted(by: sample * window.height)
        outputs = seeing.shifted(by: sample * window.output_height)
        window.padding_height += lines.lowerBound - seeing.lowerBound * window.stride_height
        (window.height, window.output_height) = (lines.count, seeing.count)
        self.window = window
        channels = geometry.inputs
    }

    /// The place of the first line among the elements of all samples, and the elements of all lines.
    var firstElement: Int { inputs.lowerBound * window.width * channels }
    var elementCount: Int { inputs.count * window.width * channels }
}
