internal import CKernels
internal import DTrainTensor

/// The tiles of one correlation of stride 1 by Winograd's minimal filtering (`winograd.h`), and the blocks they are computed
/// in: whole rows of tiles, counted over all samples.
struct WinogradTiles: Sendable {
    let window: dt_window
    /// Height and width of the kernel.
    let kernel: Int
    /// What transformed images and kernels are: factors of the products between the transforms, whose sums are fp32.
    let factors: Element
    /// Tile rows of a block.
    let blockRows: Int

    /// Floats that a block's transformed values may take where few tiles would do: they stay in the L2 cache.
    private static let blockFloats = 128 * 1024

    /// Tiles of 6 × 6 serve square kernels of 3 and 5, undilated, of stride 1.
    static func canCompute(_ window: dt_window) -> Bool {
        window.kernel_height == window.kernel_width && (window.kernel_height == 3 || window.kernel_height == 5)
            && window.stride_height == 1 && window.stride_width == 1 && window.dilation_height == 1
            && window.dilation_width == 1
    }

    /// bf16 factors, where the processor multiplies them faster, are pairs of channels: none may reach into the next group. (Those
    /// of weight gradients are pairs of tiles; groups of odd channels are too rare to tell them apart.)
    static func factors(_ groups: ChannelGroups, _ precision: Precision) -> Element {
        let hasPairs = groups.count == 1 || groups.inputs % 2 == 0 && groups.outputs % 2 == 0
        return precision == .bf16 && hasPairs && dt_bf16_is_fast() ? .bf16 : .fp32
    }

    init(_ groups: ChannelGroups, window: dt_window, precision: Precision) {
        self.window = window
        factors = Self.factors(groups, precision)
        let channels = groups.count * (groups.inputs + groups.outputs)
        let weights = groups.count * groups.inputs * groups.outputs
        kernel = window.kernel_height
        // Transformed weights go through the core once a block: the larger they are, the more tiles must share the way.
        let fewest = weights >= 256 * 256 ? 96 : 48
        let tiles = max(fewest, Self.blockFloats / (Int(DT_WINOGRAD_PLANES) * channels))
        let side = 7 - kernel
        blockRows = max(1, tiles / ((window.output_width + side - 1) / side))
    }

    /// Output lines and columns of a tile.
    var side: Int { 7 - kernel }
    var rowsPerSample: Int { (window.output_height + side - 1) / side }
    var tilesPerRow: Int { (window.output_width + side - 1) / side }
    var tilesPerBlock: Int { blockRows * tilesPerRow }
    /// Samples that fill a block.
    var blockSamples: Int { (blockRows + rowsPerSample - 1) / rowsPerSample }

    /// Where a tile row lies: its sample, its first output line in it, and its lines.
    func place(ofRow row: Int) -> (sample: Int, line: Int, lines: Int) {
        let (sample, index) = row.quotientAndRemainder(dividingBy: rowsPerSample)
        let line = index * side
        return (sample, line, min(side, window.output_height - line))
    }

    /// The output lines of tile rows, counted over all samples.
    func lines(ofRows rows: Range<Int>) -> Range<Int> {
        func line(_ row: Int) -> Int {
            let (sample, index) = row.quotientAndRemainder(dividingBy: rowsPerSample)
            return sample * window.output_height + index * side
        }
        return line(rows.lowerBound)..<line(rows.upperBound)
    }

    /// The tile rows of output lines that begin and end with whole rows.
    func rows(ofLines lines: Range<Int>) -> Range<Int> {
        func row(_ line: Int) -> Int {
            let (sample, within) = line.quotientAndRemainder(dividingBy: window.output_height)
            return sample * rowsPerSample + within / side
        }
        return row(lines.lowerBound)..<row(lines.upperBound)
    }

    /// Bᵀ X B of a block's tiles.
    func transformInput(
        _ x: Elements, pixelStride: Int, channels: Int, rows: Range<Int>, form: dt_winograd_form,
        into v: UnsafeMutablePointer<Float>, rowStride: Int, plane: Int
    ) {
        for row in rows {
            let place = place(ofRow: row)
            dt_winograd_input(
                kernel, x + place.sample * window.height * window.width * pixelStride, window.height, window.width,
                channels, pixelStride, place.line - window.padding_height, -window.padding_width, tilesPerRow, form,
                (row - rows.lowerBound) * tilesPerRow, v, rowStride, plane)
        }
    }
}

/// A correlation of stride 1: forward, or an input's gradient with the kernel turned.
struct WinogradCorrelation: Sendable {
    let tiles: WinogradTiles
    let groups: ChannelGroups
    /// Whether this is the way back: weights are those of the convolution from outputs to inputs.
    let isTurned: Bool

    init(_ geometry: ConvolutionGeometry, window: dt_window, precision: Precision, isTurned: Bool) {
        groups = ChannelGroups(geometry, isTurned: isTurned)
        self.isTurned = isTurned
        tiles = WinogradTiles(groups, window: window, precision: precision)
    }

    var inputs: Int { groups.count * groups.inputs }
    var outputs: Int { groups.count * groups.outputs }
    private var planes: Int { Int(DT_WINOGRAD_PLANES) }
    private var lanes: Int { Int(DT_WINOGRAD_LANES) }
    /// Columns of a group's weights, in whole vectors.
    private var columns: Int { (groups.outputs + lanes - 1) / lanes * lanes }
    /// Rows of a group's transformed weights: inputs, or pairs of them.
    private var weightRows: Int { tiles.factors.floatCount(groups.inputs) }
    private var groupWeights: Int { weightRows * columns }
    private var weightPlane: Int { groups.count * groupWeights }
    private var panel: Int { tiles.factors == .bf16 ? dt_bf16_panel() : max(lanes, dt_tile_panel()) }
    private var inputStride: Int { WeightPanels.rowStride(tiles.factors.floatCount(inputs)) }
    private var outputStride: Int { WeightPanels.rowStride(outputs) }
    private var positions: Int { tiles.kernel * tiles.kernel }

    /// Transformed weights for all threads; a block's transformed inputs and products for each, before them a group's weights.
    var memory: PassMemory {
        PassMemory(
            shared: planes * weightPlane,
            perThread: max(
                planes * tiles.tilesPerBlock * (inputStride + outputStride),
                groups.isPlain ? 0 : groups.weightCount(positions: positions)))
    }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        // One group is shared out by pairs of rows, several by groups.
        let part = groups.count == 1 ? run.part(of: groups.inputs, granularity: 2) : run.part(of: groups.count)
        for group in groups.count == 1 ? 0..<1 : part {
            let rows = groups.count == 1 ? part : 0..<groups.inputs
            dt_winograd_weights(
                tiles.kernel,
                groups.weights(group, of: weights, positions: positions, copy: scratch.own),
                isTurned ? groups.inputs : groups.outputs, isTurned ? groups.outputs : groups.inputs, isTurned ? 1 : 0,
                panel, rows.lowerBound, rows.upperBound,
                tiles.factors == .bf16 ? DT_WINOGRAD_PAIRS : DT_WINOGRAD_FLOATS,
                scratch.shared + group * groupWeights, weightPlane)
        }
    }

    /// Computes a block of tile rows: sets the output, plus a bias, or adds to it.
    func correlate(
        _ x: Elements, pixelStride: Int, bias: UnsafePointer<Float>?, rows: Range<Int>, into y: Elements, stride: Int,
        accumulate: Bool, scratch: PassScratch
    ) {
        let v = scratch.own
        let m = v + planes * tiles.tilesPerBlock * inputStride
        let (inputPlane, outputPlane) = (tiles.tilesPerBlock * inputStride, tiles.tilesPerBlock * outputStride)
        tiles.transformInput(
            x, pixelStride: pixelStride, channels: inputs, rows: rows,
            form: tiles.factors == .bf16 ? DT_WINOGRAD_HALVES : DT_WINOGRAD_FLOATS, into: v, rowStride: inputStride,
            plane: inputPlane)
        for plane in 0..<planes {
            for group in 0..<groups.count {
                multiply(
                    v + plane * inputPlane + tiles.factors.floatCount(group * groups.inputs),
                    scratch.shared + plane * weightPlane + group * groupWeights, rows.count * tiles.tilesPerRow,
                    into: m + plane * outputPlane + group * groups.outputs)
            }
        }
        for row in rows {
            let place = tiles.place(ofRow: row)
            let window = tiles.window
            dt_winograd_output(
                tiles.kernel, m + (row - rows.lowerBound) * tiles.tilesPerRow * outputStride, outputStride, outputPlane,
                tiles.tilesPerRow, outputs, bias, accumulate ? 1 : 0,
                y + (place.sample * window.output_height + place.line) * window.output_width * stride, stride,
                place.lines, window.output_width)
        }
    }

    /// The product of one group in one plane.
    private func multiply(
        _ v: UnsafePointer<Float>, _ weights: UnsafePointer<Float>, _ count: Int, into m: UnsafeMutablePointer<Float>
    ) {
        // Whole vectors are written where no other group lies behind them.
        let end = groups.count == 1 ? columns : groups.outputs
        for first in stride(from: 0, to: end, by: panel) {
            let width = min(panel, columns - first)
            guard tiles.factors == .fp32 else {
                dt_bf16_multiply_pairs(
                    v, inputStride, 1, weights + first * weightRows, width, weightRows, count, min(width, end - first),
                    false, m + first, outputStride)
                continue
            }
            var sum = dt_tile_sum()
            sum.count = (groups.inputs, 1, 1)
            sum.a_step = (1, 0, 0)
            sum.b_step = (width, 0, 0)
            for column in stride(from: first, to: min(first + width, end), by: dt_tile_panel()) {
                dt_tile_multiply(
                    v, inputStride, weights + first * groups.inputs + column - first, &sum, count,
                    min(dt_tile_panel(), min(first + width, end) - column), DT_TILE_SET, nil, m + column, outputStride)
            }
        }
    }
}
