internal import CKernels
internal import DTrainTensor

/// Y = X ⋆ W by minimal filtering.
struct WinogradForward: ForwardPass {
    let addsBias = true
    private let correlation: WinogradCorrelation

    init(_ geometry: ConvolutionGeometry) {
        correlation = WinogradCorrelation(
            window: geometry.window, inputs: geometry.inputs, outputs: geometry.outputs, isTurned: false)
    }

    var memory: PassMemory { correlation.memory }
    var lineGroup: Int { correlation.tiles.side }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        correlation.prepare(run, weights: weights, scratch: scratch)
    }

    func forward(
        _ x: UnsafePointer<Float>, weights: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
        into y: UnsafeMutablePointer<Float>, stride: Int, accumulate: Bool, lines: Range<Int>, scratch: PassScratch,
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
    private let correlation: WinogradCorrelation

    init(_ geometry: ConvolutionGeometry) {
        var window = geometry.window
        (window.height, window.output_height) = (window.output_height, window.height)
        (window.width, window.output_width) = (window.output_width, window.width)
        window.padding_height = window.kernel_height - 1 - window.padding_height
        window.padding_width = window.kernel_width - 1 - window.padding_width
        correlation = WinogradCorrelation(
            window: window, inputs: geometry.outputs, outputs: geometry.inputs, isTurned: true)
    }

    var memory: PassMemory { correlation.memory }
    var blockSamples: Int { correlation.tiles.blockSamples }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        correlation.prepare(run, weights: weights, scratch: scratch)
    }

    func propagate(
        _ dz: UnsafePointer<Float>, stride: Int, weights: UnsafePointer<Float>, into dx: UnsafeMutablePointer<Float>,
        accumulate: Bool, samples: Range<Int>, scratch: PassScratch
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
    private let tiles: WinogradTiles
    private let inputs: Int
    private let outputs: Int

    init(_ geometry: ConvolutionGeometry) {
        (inputs, outputs) = (geometry.inputs, geometry.outputs)
        tiles = WinogradTiles(window: geometry.window, channels: inputs + outputs, weights: inputs * outputs)
    }

    private var planes: Int { Int(DT_WINOGRAD_PLANES) }
    private var inputStride: Int { WeightPanels.rowStride(inputs) }
    private var outputStride: Int { WeightPanels.rowStride(outputs) }
    /// Floats of one plane of the sums: outputs × inputs.
    private var sumPlane: Int { outputs * inputStride }

    /// The thread's sums, then a block's transformed inputs and output gradients.
    var memory: PassMemory {
        PassMemory(perThread: planes * (sumPlane + tiles.tilesPerBlock * (inputStride + outputStride)))
    }
    var blockSamples: Int { tiles.blockSamples }

    func begin(_ scratch: PassScratch) { scratch.own.update(repeating: 0, count: planes * sumPlane) }

    func add(
        _ x: UnsafePointer<Float>, _ dz: UnsafePointer<Float>, stride: Int, samples: Range<Int>, scratch: PassScratch
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
                for first in Swift.stride(from: 0, to: inputs, by: dt_tile_panel()) {
                    dt_tile_multiply(
                        z + plane * outputPlane, 1, v + plane * inputPlane + first, &sum, outputs,
                        min(dt_tile_panel(), inputs - first), DT_TILE_ADD_PADDED, nil,
                        scratch.own + plane * sumPlane + first, inputStride)
                }
            }
        }
    }

    func finish(
        _ run: Run, active: Int, into gradient: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: PassScratch
    ) {
        let rowLength = tiles.kernel * tiles.kernel * inputs
        let first = scratch.own(of: 0)
        for output in run.part(of: outputs) {
            dt_winograd_weight_gradient(
                tiles.kernel, first + output * inputStride, sumPlane, active,
                active > 1 ? scratch.own(of: 1) - first : 0, inputs, accumulate ? 1 : 0, gradient + output * rowLength)
        }
    }
}
