internal import CKernels
internal import DTrainTensor

/// Y = X ⋆ W by minimal filtering.
struct WinogradForward: ForwardPass {
    let addsBias = true
    let takesBF16 = true
    private let correlation: WinogradCorrelation

    init(_ geometry: ConvolutionGeometry, _ precision: Precision) {
        correlation = WinogradCorrelation(geometry, window: geometry.window, precision: precision, isTurned: false)
    }

    var memory: PassMemory { correlation.memory }
    var lineGroup: Int { correlation.tiles.side }
    var blockSamples: Int { correlation.tiles.blockSamples }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        correlation.prepare(run, weights: weights, scratch: scratch)
    }

    func forward(
        _ x: Elements, weights: UnsafePointer<Float>, bias: UnsafePointer<Float>?, into y: Elements, stride: Int,
        accumulate: Bool, lines: Range<Int>, scratch: PassScratch,
        finish: (_ lines: Range<Int>) -> Void
    ) {
        let tiles = correlation.tiles
        tiles.forEachBlock(of: tiles.rows(ofLines: lines)) { rows in
            correlation.correlate(
                x, pixelStride: correlation.inputs, bias: bias, rows: rows, into: y, stride: stride,
                accumulate: accumulate, scratch: scratch)
            finish(tiles.lines(ofRows: rows))
        }
    }
}

/// dX by minimal filtering: the correlation of dZ with the kernel turned by 180°, padded by kernel − 1 − padding.
struct WinogradInputGradient: InputGradientPass {
    let takesBF16 = true
    private let correlation: WinogradCorrelation

    init(_ geometry: ConvolutionGeometry, _ precision: Precision) {
        correlation = WinogradCorrelation(geometry, window: geometry.turnedWindow, precision: precision, isTurned: true)
    }

    var memory: PassMemory { correlation.memory }
    var blockSamples: Int { correlation.tiles.blockSamples }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        correlation.prepare(run, weights: weights, scratch: scratch)
    }

    func propagate(
        _ dz: Elements, stride: Int, weights: UnsafePointer<Float>, into dx: Elements, accumulate: Bool,
        samples: Range<Int>, scratch: PassScratch
    ) {
        let tiles = correlation.tiles
        tiles.forEachBlock(of: samples.lowerBound * tiles.rowsPerSample..<samples.upperBound * tiles.rowsPerSample) {
            correlation.correlate(
                dz, pixelStride: stride, bias: nil, rows: $0, into: dx, stride: correlation.outputs,
                accumulate: accumulate, scratch: scratch)
        }
    }
}

/// dW by minimal filtering: dZ's tiles are the kernels. Sums stay transformed until the last sample.
struct WinogradWeightGradient: WeightGradientPass {
    let takesBF16 = true
    private let tiles: WinogradTiles
    private let groups: ChannelGroups

    init(_ geometry: ConvolutionGeometry, _ precision: Precision) {
        groups = ChannelGroups(geometry)
        tiles = WinogradTiles(groups, window: geometry.window, precision: precision)
    }

    private var planes: Int { Int(DT_WINOGRAD_PLANES) }
    private var inputs: Int { groups.count * groups.inputs }
    private var outputs: Int { groups.count * groups.outputs }
    private var inputStride: Int { WeightPanels.rowStride(inputs) }
    private var outputStride: Int { WeightPanels.rowStride(outputs) }
    /// Floats of a row of the sums: an output's weights from its group's inputs.
    private var sumStride: Int { WeightPanels.rowStride(groups.inputs) }
    /// Floats of one plane of the sums.
    private var sumPlane: Int { outputs * sumStride }
    private var positions: Int { tiles.kernel * tiles.kernel }

    /// Rows of a block's transformed values: tiles, or pairs of them.
    private var rowsPerBlock: Int { tiles.factors.floatCount(tiles.tilesPerBlock) }
    private var inputPlane: Int { rowsPerBlock * inputStride }
    private var outputPlane: Int { rowsPerBlock * outputStride }
    private var form: dt_winograd_form { tiles.factors == .bf16 ? DT_WINOGRAD_PAIRS : DT_WINOGRAD_FLOATS }

    /// Whether there are sums yet, a cache line; the thread's sums; a block's transformed inputs and output gradients; then the
    /// gradient of an output's weights.
    var memory: PassMemory {
        PassMemory(
            perThread: Self.head + planes * (sumPlane + inputPlane + outputPlane) + positions * groups.inputs)
    }
    private static let head = 16
    private func sums(_ own: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Float> { own + Self.head }
    var blockSamples: Int { tiles.blockSamples }

    func begin(_ scratch: PassScratch) { scratch.own[0] = 0 }

    func add(
        _ x: Elements, _ dz: Elements, stride: Int, samples: Range<Int>, scratch: PassScratch
    ) {
        let window = tiles.window
        let v = sums(scratch.own) + planes * sumPlane
        let z = v + planes * inputPlane
        tiles.forEachBlock(of: samples.lowerBound * tiles.rowsPerSample..<samples.upperBound * tiles.rowsPerSample) {
            rows in
            tiles.transformInput(
                x, pixelStride: inputs, channels: inputs, rows: rows, form: form, into: v, rowStride: inputStride,
                plane: inputPlane)
            for row in rows {
                let place = tiles.place(ofRow: row)
                dt_winograd_output_gradient(
                    tiles.kernel,
                    dz + (place.sample * window.output_height + place.line) * window.output_width * stride,
                    place.lines, window.output_width, outputs, stride, tiles.tilesPerRow, form,
                    (row - rows.lowerBound) * tiles.tilesPerRow, z, outputStride, outputPlane)
            }
            for plane in 0..<planes {
                for group in 0..<groups.count {
                    multiply(
                        z + plane * outputPlane + group * groups.outputs,
                        v + plane * inputPlane + group * groups.inputs,
                        tiles: rows.count * tiles.tilesPerRow, accumulate: scratch.own[0] != 0,
                        into: sums(scratch.own) + plane * sumPlane + group * groups.outputs * sumStride)
                }
            }
            scratch.own[0] = 1
        }
    }

    /// The product of one group in one plane: outputs × inputs.
    private func multiply(
        _ z: UnsafePointer<Float>, _ v: UnsafePointer<Float>, tiles count: Int, accumulate: Bool,
        into sums: UnsafeMutablePointer<Float>
    ) {
        var sum = dt_tile_sum()
        sum.count = (count, 1, 1)
        sum.a_step = (outputStride, 0, 0)
        sum.b_step = (inputStride, 0, 0)
        let panel = tiles.factors == .bf16 ? dt_bf16_panel() : dt_tile_panel()
        for first in Swift.stride(from: 0, to: groups.inputs, by: panel) {
            let columns = min(panel, groups.inputs - first)
            if tiles.factors == .bf16 {
                dt_bf16_multiply_pairs(
                    z, 1, outputStride, v + first, inputStride, tiles.factors.floatCount(count), groups.outputs,
                    columns,
                    accumulate, sums + first, sumStride)
            } else {
                dt_tile_multiply(
                    z, 1, v + first, &sum, groups.outputs, columns, accumulate ? DT_TILE_ADD_PADDED : DT_TILE_SET, nil,
                    sums + first, sumStride)
            }
        }
    }

    func finish(
        _ run: Run, active: Int, into gradient: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: PassScratch
    ) {
        let first = sums(scratch.own(of: 0))
        let part = active > 1 ? sums(scratch.own(of: 1)) - first : 0
        let dense = sums(scratch.own) + planes * (sumPlane + inputPlane + outputPlane)
        for output in run.part(of: outputs) {
            let row = groups.isPlain ? gradient + output * positions * groups.inputs : dense
            dt_winograd_weight_gradient(
                tiles.kernel, first + output * sumStride, sumPlane, active, part, groups.inputs,
                groups.isPlain && accumulate ? 1 : 0, row)
            if !groups.isPlain {
                groups.setGradient(
                    ofOutput: output, from: dense, positions: positions, into: gradient, accumulate: accumulate)
            }
        }
    }
}
