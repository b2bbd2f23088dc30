internal import CKernels

/// Y = X ⋆ W without unfolding.
struct DirectForward: ForwardPass {
    let addsBias = true
    private let correlation: DirectCorrelation

    init(_ geometry: ConvolutionGeometry) {
        correlation = DirectCorrelation(window: geometry.window, inputs: geometry.inputs, outputs: geometry.outputs)
    }

    var memory: PassMemory { PassMemory(shared: correlation.panels.count, perThread: correlation.copyCount) }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        let rowLength = correlation.rowLength
        correlation.panels.pack(run, weights, into: scratch.shared) { output, element in output * rowLength + element }
    }

    func forward(
        _ x: Elements, weights: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
        into y: Elements, stride: Int, accumulate: Bool, lines: Range<Int>, scratch: PassScratch,
        finish: (_ lines: Range<Int>) -> Void
    ) {
        let (x, y) = (x.floats, y.floats)
        let window = correlation.window
        let (height, width) = (window.output_height, window.output_width)
        correlation.forEachBlock(of: lines) { sample, block in
            let source = correlation.lines(
                of: x + sample * window.height * window.width * correlation.inputs, pixelStride: correlation.inputs,
                for: block, copy: scratch.own)
            correlation.correlate(
                source, packed: scratch.shared, bias: bias, lines: block, into: y + sample * height * width * stride,
                stride: stride, accumulate: accumulate)
            finish(block.shifted(by: sample * height))
        }
    }
}

/// dX of a convolution of stride 1: the correlation of dZ with the kernel turned by 180°, inputs and outputs exchanged,
/// and padding kernel − 1 − padding.
struct DirectInputGradient: InputGradientPass {
    private let correlation: DirectCorrelation

    init(_ geometry: ConvolutionGeometry) {
        correlation = DirectCorrelation(
            window: geometry.turnedWindow, inputs: geometry.outputs, outputs: geometry.inputs)
    }

    var memory: PassMemory { PassMemory(shared: correlation.panels.count, perThread: correlation.copyCount) }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        let (positions, channels) = (correlation.rowLength / correlation.inputs, correlation.inputs)
        let inputs = correlation.outputs
        correlation.panels.pack(run, weights, into: scratch.shared) { input, element in
            let (position, output) = element.quotientAndRemainder(dividingBy: channels)
            return (output * positions + positions - 1 - position) * inputs + input
        }
    }

    func propagate(
        _ dz: Elements, stride: Int, weights: UnsafePointer<Float>, into dx: Elements,
        accumulate: Bool, lines: Range<Int>, scratch: PassScratch
    ) {
        let (dz, dx) = (dz.floats, dx.floats)
        let window = correlation.window
        correlation.forEachBlock(of: lines) { sample, block in
            let source = correlation.lines(
                of: dz + sample * window.height * window.width * stride, pixelStride: stride, for: block,
                copy: scratch.own)
            correlation.correlate(
                source, packed: scratch.shared, bias: nil, lines: block,
                into: dx + sample * window.output_height * window.output_width * correlation.outputs,
                stride: correlation.outputs, accumulate: accumulate)
        }
    }
}

/// dW without unfolding: window elements are the rows, outputs the columns, and the sum runs over the output's pixels.
struct DirectWeightGradient: WeightGradientPass {
    private let correlation: DirectCorrelation

    init(_ geometry: ConvolutionGeometry) {
        correlation = DirectCorrelation(window: geometry.window, inputs: geometry.inputs, outputs: geometry.outputs)
    }

    /// The thread's sum in panels, then copied lines of the image, then copied lines of dz.
    var memory: PassMemory {
        PassMemory(
            perThread: correlation.panels.count + correlation.copyCount
                + edgeLines * correlation.window.output_width * correlation.outputs + dt_tile_granularity())
    }

    /// Products read dz in whole vectors, which reach into the next pixels: the last lines from which they reach behind the end.
    private var edgeLines: Int {
        let excess = correlation.panels.count / correlation.rowLength - correlation.outputs
        let pixels = (excess + correlation.outputs - 1) / correlation.outputs
        return (pixels + correlation.window.output_width - 1) / correlation.window.output_width
    }

    func begin(_ scratch: PassScratch) { scratch.own.update(repeating: 0, count: correlation.panels.count) }

    func add(
        _ x: Elements, _ dz: Elements, stride: Int, lines: Range<Int>, scratch: PassScratch
    ) {
        let dz = dz.floats
        let (width, outputs) = (correlation.window.output_width, correlation.outputs)
        // Behind the last line there may be no memory, or another thread's: the last ones are read from a copy.
        let edge = max(lines.lowerBound, lines.upperBound - edgeLines)..<lines.upperBound
        add(x.floats, dz, stride: stride, lines: lines.lowerBound..<edge.lowerBound, scratch)
        let edgeCopy = scratch.own + correlation.panels.count + correlation.copyCount
        dt_copy_rows(
            dz + edge.lowerBound * width * stride, stride, edgeCopy, outputs, edge.count * width, outputs, 0)
        add(x.floats, edgeCopy - edge.lowerBound * width * outputs, stride: outputs, lines: edge, scratch)
    }

    private func add(
        _ x: UnsafePointer<Float>, _ dz: UnsafePointer<Float>, stride: Int, lines: Range<Int>, _ scratch: PassScratch
    ) {
        let window = correlation.window
        correlation.forEachBlock(of: lines) { sample, block in
            let source = correlation.lines(
                of: x + sample * window.height * window.width * correlation.inputs, pixelStride: correlation.inputs,
                for: block, copy: scratch.own + correlation.panels.count)
            add(
                source, dz + sample * window.output_height * window.output_width * stride, stride: stride, lines: block,
                into: scratch.own)
        }
    }

    /// Adds the products of some lines of one sample, `dz` being all of its pixels.
    private func add(
        _ source: DirectCorrelation.Lines, _ dz: UnsafePointer<Float>, stride: Int, lines: Range<Int>,
        into sums: UnsafeMutablePointer<Float>
    ) {
        let window = correlation.window
        let runLength = correlation.runLength
        correlation.panels.forEachPanel { panel, rowStride, start in
            for kernelLine in 0..<window.kernel_height {
                // Output lines for which this kernel line lies inside the image.
                let offset = kernelLine * window.dilation_height - window.padding_height
                let from = max(
                    lines.lowerBound, offset >= 0 ? 0 : (-offset + window.stride_height - 1) / window.stride_height)
                let last = window.height - 1 - offset
                let to = min(lines.upperBound, last < 0 ? 0 : last / window.stride_height + 1)
                guard from < to else { continue }
                var sum = dt_tile_sum()
                sum.count = (window.output_width, to - from, 1)
                sum.a_step = (window.stride_width * correlation.inputs, window.stride_height * source.lineStride, 0)
                sum.b_step = (stride, window.output_width * stride, 0)
                let line = source.origin + (from * window.stride_height + offset) * source.lineStride
                for run in 0..<correlation.runsPerLine {
                    let element = (kernelLine * correlation.runsPerLine + run) * runLength
                    dt_tile_multiply(
                        line + run * window.dilation_width * correlation.inputs, 1,
                        dz + from * window.output_width * stride + panel.lowerBound, &sum, runLength, panel.count,
                        DT_TILE_ADD_PADDED, nil, sums + start + element * rowStride, rowStride)
                }
            }
        }
    }

    func finish(
        _ run: Run, active: Int, into gradient: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: PassScratch
    ) {
        let rowLength = correlation.rowLength
        let elements = run.part(of: rowLength, granularity: 16)
        correlation.panels.forEachPanel { panel, rowStride, start in
            for output in panel {
                let row = gradient + output * rowLength
                for element in elements {
                    var total: Float = accumulate ? row[element] : 0
                    let place = start + element * rowStride + output - panel.lowerBound
                    for thread in 0..<active { total += scratch.own(of: thread)[place] }
                    row[element] = total
                }
            }
        }
    }
}
