internal import CKernels

/// The correlation of an image with packed weights by products that read the image where it lies.
///
/// A window is a row of the left matrix without being copied: its kernel lines are runs of the image, and neighbouring
/// windows overlap. Only padding at the sides is made real, by copying a few lines; padding above and below is left out
/// of the sum.
struct DirectCorrelation: Sendable {
    let window: dt_window
    let inputs: Int
    let outputs: Int
    /// Output lines that are computed from one copy of padded input lines.
    let blockLines: Int

    /// Floats of copied lines in a block.
    private static let blockFloats = 16 * 1024

    /// Whether a panel of weights with windows of `rowLength` elements takes at most half of a 1 MiB L2 cache.
    static func fits(rowLength: Int) -> Bool { rowLength * dt_tile_panel() <= 128 * 1024 }

    init(window: dt_window, inputs: Int, outputs: Int) {
        self.window = window
        self.inputs = inputs
        self.outputs = outputs
        let lines = max(1, Self.blockFloats / (Self.paddedWidth(window) * inputs))
        let reach = (window.kernel_height - 1) * window.dilation_height + 1
        blockLines = min(window.output_height, max(1, (lines - min(reach, lines)) / window.stride_height + 1))
    }

    private static func paddedWidth(_ window: dt_window) -> Int { window.width + 2 * window.padding_width }
    var paddedWidth: Int { Self.paddedWidth(window) }
    /// Weights: a row for each element of a window.
    var panels: WeightPanels { WeightPanels(rows: rowLength, columns: outputs) }
    /// Elements of a window.
    var rowLength: Int { window.kernel_height * window.kernel_width * inputs }
    /// Input lines that `lines` output lines read.
    func inputLines(_ lines: Int) -> Int {
        (lines - 1) * window.stride_height + (window.kernel_height - 1) * window.dilation_height + 1
    }
    /// Floats of a block's copied lines.
    var copyCount: Int { inputLines(blockLines) * paddedWidth * inputs }

    // MARK: Lines

    /// Calls `body` for blocks of output lines, counted over all samples, each with its lines in its sample.
    func forEachBlock(of lines: Range<Int>, _ body: (_ sample: Int, _ block: Range<Int>) -> Void) {
        var line = lines.lowerBound
        while line < lines.upperBound {
            let (sample, first) = line.quotientAndRemainder(dividingBy: window.output_height)
            let block = first..<min(first + blockLines, window.output_height, first + lines.upperBound - line)
            body(sample, block)
            line += block.count
        }
    }

    /// Runs of consecutive floats in a window: whole kernel lines, or single pixels where the kernel is dilated.
    var runLength: Int { window.dilation_width == 1 ? window.kernel_width * inputs : inputs }
    var runsPerLine: Int { window.dilation_width == 1 ? 1 : window.kernel_width }

    /// The kernel lines that fall into the image for an output line.
    func validKernelLines(_ line: Int) -> Range<Int> {
        let top = line * window.stride_height - window.padding_height
        let dilation = window.dilation_height
        let first = top >= 0 ? 0 : (-top + dilation - 1) / dilation
        let last = window.height - top > 0 ? (window.height - top + dilation - 1) / dilation : 0
        return min(first, window.kernel_height)..<max(min(first, window.kernel_height), min(last, window.kernel_height))
    }

    /// Input lines with their sides padded: `origin` is where line 0 of the image would start.
    struct Lines {
        let origin: UnsafePointer<Float>
        let lineStride: Int
    }

    /// The lines that the output lines `lines` of one image read: copied into `copy` where there is padding at the sides or
    /// the image's pixels lie apart, in place elsewhere.
    func lines(
        of image: UnsafePointer<Float>, pixelStride: Int, for lines: Range<Int>, copy: UnsafeMutablePointer<Float>
    ) -> Lines {
        let width = window.width
        if window.padding_width == 0, pixelStride == inputs { return Lines(origin: image, lineStride: width * inputs) }
        let top = lines.lowerBound * window.stride_height - window.padding_height
        // None where all of them lie in the padding above or below.
        let first = max(top, 0)
        let needed = first..<max(first, min(top + inputLines(lines.count), window.height))
        let lineStride = paddedWidth * inputs
        let side = window.padding_width * inputs
        for line in needed {
            let to = copy + (line - needed.lowerBound) * lineStride
            to.update(repeating: 0, count: side)
            if pixelStride == inputs {
                (to + side).update(from: image + line * width * inputs, count: width * inputs)
            } else {
                dt_copy_rows(image + line * width * pixelStride, pixelStride, to + side, inputs, width, inputs, 0)
            }
            (to + side + width * inputs).update(repeating: 0, count: side)
        }
        return Lines(origin: UnsafePointer(copy) - needed.lowerBound * lineStride, lineStride: lineStride)
    }

    /// Computes the output lines `lines` of one image from `source`: sets `y` (plus a bias), or adds to it. `y` is the
    /// image's first output pixel, pixels are `stride` floats apart.
    func correlate(
        _ source: Lines, packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?, lines: Range<Int>,
        into y: UnsafeMutablePointer<Float>, stride: Int, accumulate: Bool
    ) {
        let dilated = window.dilation_width != 1
        panels.forEachPanel { panel, rowStride, start in
            for line in lines {
                let valid = validKernelLines(line)
                let top = line * window.stride_height - window.padding_height
                let firstLine = top + valid.lowerBound * window.dilation_height
                var sum = dt_tile_sum()
                sum.count = (runLength, runsPerLine, valid.count)
                sum.a_step = (
                    1, dilated ? window.dilation_width * inputs : 0, window.dilation_height * source.lineStride
                )
                sum.b_step = (rowStride, runLength * rowStride, runLength * runsPerLine * rowStride)
                dt_tile_multiply(
                    source.origin + firstLine * source.lineStride, window.stride_width * inputs,
                    packed + start + valid.lowerBound * runLength * runsPerLine * rowStride, &sum, window.output_width,
                    panel.count, accumulate ? DT_TILE_ADD : DT_TILE_SET, bias.map { $0 + panel.lowerBound },
                    y + line * window.output_width * stride + panel.lowerBound, stride)
            }
        }
    }
}
