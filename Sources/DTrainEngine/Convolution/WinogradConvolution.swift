internal import CKernels
internal import DTrainTensor

/// Y = X ⋆ W by minimal filtering.
struct WinogradForward: ForwardPass {
    let addsBias = true
    let takesBF16 = true
    private let correlation: WinogradCorrelation

    init(_ geometry: ConvolutionGeometry) {
        correlation = WinogradCorrelation(geometry, window: geometry.window, isTurned: false)
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

    init(_ geometry: ConvolutionGeometry) {
        correlation = WinogradCorrelation(geometry, window: geometry.turnedWindow, isTurned: true)
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

    init(_ geometry: ConvolutionGeometry) {
        groups = ChannelGroups(geometry)
        tiles = WinogradTiles(
            window: geometry.window, channels: geometry.inputs + geometry.outputs,
            weights: groups.count * groups.inputs * groups.outputs)
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

    /// The thread's sums, then a block's transformed inputs and output gradients; then the gradient of an output's weights.
    var memory: PassMemory {
        PassMemory(
            perThread: planes * (sumPlane + tiles.tilesPerBlock * (inputStride + outputStride))
                + positions * groups.inputs)
    }
    var blockSamples: Int { tiles.blockSamples }

    func begin(_ scratch: PassScratch) { scratch.own.update(repeating: 0, count: planes * sumPlane) }

    func add(
        _ x: Elements, _ dz: Elements, stride: Int, samples: Range<Int>, scratch: PassScratch
    ) {
        let window = tiles.window
        let (inputPlane, outputPlane) = (tiles.tilesPerBlock * inputStride, tiles.tilesPerBlock * outputStride)
        let v = scratch.own + planes * sumPlane
        let z = v + planes * inputPlane
        tiles.forEachBlock(of: samples.lowerBound * tiles.rowsPerSample..<samples.upperBound * tiles.rowsPerSample) {
            rows in
            tiles.transformInput(
                x, pixelStride: inputs, channels: inputs, rows: rows, into: v, rowStride: inputStride)
            for row in rows {
                let place = tiles.place(ofRow: row)
                dt_winograd_output_gradient(
                    tiles.kernel,
                    dz + (place.sample * window.output_height + place.line) * window.output_width * stride,
                    place.lines, window.output_width, outputs, stride, tiles.tilesPerRow,
                    z + (row - rows.lowerBound) * tiles.tilesPerRow * outputStride, outputStride, outputPlane)
            }
            var sum = dt_tile_sum()
            sum.count = (rows.count * tiles.tilesPerRow, 1, 1)
            sum.a_step = (outputStride, 0, 0)
            sum.b_step = (inputStride, 0, 0)
            for plane in 0..<planes {
                for group in 0..<groups.count {
                    let sums = scratch.own + plane * sumPlane + group * groups.outputs * sumStride
                    for first in Swift.stride(from: 0, to: groups.inputs, by: dt_tile_panel()) {
                        dt_tile_multiply(
                            z + plane * outputPlane + group * groups.outputs, 1,
                            v + plane * inputPlane + group * groups.inputs + first, &sum, groups.outputs,
                            min(dt_tile_panel(), groups.inputs - first), DT_TILE_ADD_PADDED, nil, sums + first,
                            sumStride)
                    }
                }
            }
        }
    }

    func finish(
        _ run: Run, active: Int, into gradient: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: PassScratch
    ) {
        let first = scratch.own(of: 0)
        let part = active > 1 ? scratch.own(of: 1) - first : 0
        let dense = scratch.own + planes * (sumPlane + tiles.tilesPerBlock * (inputStride + outputStride))
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
