internal import CKernels
internal import DTrainTensor

/// A 1×1 convolution of any stride: products over pixels, a block of output lines at a time, weights packed once a pass.
///
/// Pixels of many channels lie at distances at which they push each other out of the cache; they are copied to others first,
/// which costs little beside the product.
struct PointwiseBlocks: Sendable {
    let geometry: ConvolutionGeometry
    /// Output lines of a block.
    let blockLines: Int

    static func canCompute(_ geometry: ConvolutionGeometry) -> Bool {
        let window = geometry.window
        return geometry.groups == 1 && window.kernel_height == 1 && window.kernel_width == 1
            && window.padding_height == 0 && window.padding_width == 0
    }

    /// - Parameter pixels: the output pixels of a block, roughly.
    init(_ geometry: ConvolutionGeometry, pixels: Int) {
        self.geometry = geometry
        blockLines = max(1, pixels / geometry.window.output_width)
    }

    /// Pixels whose `channels` stay in a quarter of a 1 MiB L2 cache.
    static func pixels(_ channels: Int) -> Int { min(384, max(48, 64 * 1024 / channels)) }

    var width: Int { geometry.window.output_width }
    var height: Int { geometry.window.output_height }
    var blockPixels: Int { blockLines * width }
    /// Floats of a block's pixels, copied.
    func copyCount(_ channels: Int) -> Int { blockPixels * WeightPanels.rowStride(channels) }

    /// The input pixels that belong to output lines, and the floats from one to the next. Where `readsVectors`, a product may
    /// read whole vectors of each pixel.
    func inputs(
        _ x: UnsafePointer<Float>, lines: Range<Int>, readsVectors: Bool, copy: UnsafeMutablePointer<Float>
    ) -> (pixels: UnsafePointer<Float>, stride: Int) {
        let (window, channels) = (geometry.window, geometry.inputs)
        guard !geometry.isPointwise || readsVectors && channels % dt_tile_granularity() != 0 else {
            return outputs(x, stride: channels, channels: channels, lines: lines, copy: copy)
        }
        // A copy has room for whole vectors.
        let rowStride = WeightPanels.rowStride(channels)
        for line in lines {
            let (sample, y) = line.quotientAndRemainder(dividingBy: height)
            dt_copy_rows(
                x + (sample * window.height + y * window.stride_height) * window.width * channels,
                window.stride_width * channels, copy + (line - lines.lowerBound) * width * rowStride, rowStride, width,
                channels, 0)
        }
        return (UnsafePointer(copy), rowStride)
    }

    /// Pixels of output lines as a product reads them: in place where their distance is harmless.
    func outputs(
        _ pixels: UnsafePointer<Float>, stride: Int, channels: Int, lines: Range<Int>, copy: UnsafeMutablePointer<Float>
    ) -> (pixels: UnsafePointer<Float>, stride: Int) {
        let first = pixels + lines.lowerBound * width * stride
        if stride % 128 != 0 { return (first, stride) }
        let rowStride = WeightPanels.rowStride(channels)
        dt_copy_rows(first, stride, copy, rowStride, lines.count * width, channels, 0)
        return (UnsafePointer(copy), rowStride)
    }
}

/// Y = X · Wᵀ.
struct PointwiseForward: ForwardPass {
    let addsBias = true
    private let blocks: PointwiseBlocks
    private let panels: WeightPanels

    init(_ geometry: ConvolutionGeometry) {
        blocks = PointwiseBlocks(geometry, pixels: PointwiseBlocks.pixels(geometry.inputs))
        panels = WeightPanels(rows: geometry.inputs, columns: geometry.outputs)
    }

    var memory: PassMemory { PassMemory(shared: panels.count, perThread: blocks.copyCount(panels.rows)) }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        panels.pack(run, weights, into: scratch.shared) { output, input in output * panels.rows + input }
    }

    func forward(
        _ x: Elements, weights: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
        into y: Elements, stride: Int, accumulate: Bool, lines: Range<Int>, scratch: PassScratch,
        finish: (_ lines: Range<Int>) -> Void
    ) {
        let (x, y) = (x.floats, y.floats)
        lines.forEachBlock(of: blocks.blockLines) { lines in
            let source = blocks.inputs(x, lines: lines, readsVectors: false, copy: scratch.own)
            panels.forEachPanel { panel, rowStride, start in
                panels.multiply(
                    source.pixels, leftStride: source.stride, count: lines.count * blocks.width, panel: panel,
                    packed: scratch.shared + start, rowStride: rowStride, bias: bias,
                    into: y + lines.lowerBound * blocks.width * stride, stride: stride, accumulate: accumulate)
            }
            finish(lines)
        }
    }
}

/// dX = dZ · W at the pixels that the stride meets, zero at the others.
struct PointwiseInputGradient: InputGradientPass {
    private let blocks: PointwiseBlocks
    private let panels: WeightPanels

    init(_ geometry: ConvolutionGeometry) {
        blocks = PointwiseBlocks(geometry, pixels: PointwiseBlocks.pixels(geometry.outputs))
        panels = WeightPanels(rows: geometry.outputs, columns: geometry.inputs)
    }

    var memory: PassMemory { PassMemory(shared: panels.count, perThread: blocks.copyCount(panels.rows)) }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        panels.pack(run, weights, into: scratch.shared) { input, output in output * panels.columns + input }
    }

    func propagate(
        _ dz: Elements, stride: Int, weights: UnsafePointer<Float>, into dx: Elements,
        accumulate: Bool, lines: Range<Int>, scratch: PassScratch
    ) {
        let (dz, dx) = (dz.floats, dx.floats)
        let (geometry, inputs) = (blocks.geometry, panels.columns)
        if geometry.hasUnitStride {
            return lines.forEachBlock(of: blocks.blockLines) { lines in
                let source = blocks.outputs(dz, stride: stride, channels: panels.rows, lines: lines, copy: scratch.own)
                panels.forEachPanel { panel, rowStride, start in
                    panels.multiply(
                        source.pixels, leftStride: source.stride, count: lines.count * blocks.width, panel: panel,
                        packed: scratch.shared + start, rowStride: rowStride,
                        into: dx + lines.lowerBound * blocks.width * inputs, stride: inputs, accumulate: accumulate)
                }
            }
        }
        geometry.forEachBand(of: lines) { band in
            let (target, window) = (dx + band.firstElement, band.window)
            if !accumulate { target.update(repeating: 0, count: band.elementCount) }
            band.outputs.forEachBlock(of: blocks.blockLines) { lines in
                let source = blocks.outputs(dz, stride: stride, channels: panels.rows, lines: lines, copy: scratch.own)
                panels.forEachPanel { panel, rowStride, start in
                    for line in lines {
                        let (sample, y) = (line - band.outputs.lowerBound)
                            .quotientAndRemainder(dividingBy: window.output_height)
                        // A 1×1 kernel has no padding: this one is where the band begins, seen from its first window.
                        let inputLine = sample * window.height + y * window.stride_height - window.padding_height
                        panels.multiply(
                            source.pixels + (line - lines.lowerBound) * blocks.width * source.stride,
                            leftStride: source.stride, count: blocks.width, panel: panel,
                            packed: scratch.shared + start, rowStride: rowStride,
                            into: target + inputLine * window.width * inputs, stride: window.stride_width * inputs,
                            accumulate: accumulate)
                    }
                }
            }
        }
    }
}

/// dW = dZᵀ · X.
struct PointwiseWeightGradient: WeightGradientPass {
    private let blocks: PointwiseBlocks
    private let inputs: Int
    private let outputs: Int

    init(_ geometry: ConvolutionGeometry) {
        blocks = PointwiseBlocks(geometry, pixels: 128)
        (inputs, outputs) = (geometry.inputs, geometry.outputs)
    }

    private var sumStride: Int { WeightPanels.rowStride(inputs) }
    private var sumCount: Int { outputs * sumStride }
    /// The thread's sum, then copied pixels of both sides.
    var memory: PassMemory {
        PassMemory(perThread: sumCount + blocks.copyCount(inputs) + blocks.copyCount(outputs))
    }

    func begin(_ scratch: PassScratch) { scratch.own.update(repeating: 0, count: sumCount) }

    func add(
        _ x: Elements, _ dz: Elements, stride: Int, lines: Range<Int>, scratch: PassScratch
    ) {
        let (x, dz) = (x.floats, dz.floats)
        let copy = scratch.own + sumCount
        lines.forEachBlock(of: blocks.blockLines) { lines in
            let right = blocks.inputs(x, lines: lines, readsVectors: true, copy: copy)
            let left = blocks.outputs(
                dz, stride: stride, channels: outputs, lines: lines, copy: copy + blocks.copyCount(inputs))
            var sum = dt_tile_sum()
            sum.count = (lines.count * blocks.width, 1, 1)
            sum.a_step = (left.stride, 0, 0)
            sum.b_step = (right.stride, 0, 0)
            for first in Swift.stride(from: 0, to: inputs, by: dt_tile_panel()) {
                dt_tile_multiply(
                    left.pixels, 1, right.pixels + first, &sum, outputs, min(dt_tile_panel(), inputs - first),
                    DT_TILE_ADD_PADDED, nil, scratch.own + first, sumStride)
            }
        }
    }

    func finish(
        _ run: Run, active: Int, into gradient: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: PassScratch
    ) {
        let part = run.part(of: outputs)
        for thread in 0..<active {
            dt_copy_rows(
                scratch.own(of: thread) + part.lowerBound * sumStride, sumStride, gradient + part.lowerBound * inputs,
                inputs, part.count, inputs, accumulate || thread > 0 ? 1 : 0)
        }
    }
}
