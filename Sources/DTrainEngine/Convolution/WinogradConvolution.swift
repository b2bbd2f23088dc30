internal import CKernels
internal import DTrainTensor

/// Y = X ⋆ W by minimal filtering.
struct WinogradForward: ForwardPass {
    let addsBias = true
    let takesBF16 = true
    var multipliesBF16: Bool { correlation.tiles.factors == .bf16 }
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
        tiles.rows(ofLines: lines).forEachBlock(of: tiles.blockRows) { rows in
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
    var multipliesBF16: Bool { correlation.tiles.factors == .bf16 }
    private let correlation: WinogradCorrelation

    init(_ geometry: ConvolutionGeometry, _ precision: Precision) {
        correlation = WinogradCorrelation(geometry, window: geometry.turnedWindow, precision: precision, isTurned: true)
    }

    var memory: PassMemory { correlation.memory }
    var lineGroup: Int { correlation.tiles.side }
    var blockSamples: Int { correlation.tiles.blockSamples }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        correlation.prepare(run, weights: weights, scratch: scratch)
    }

    func propagate(
        _ dz: Elements, stride: Int, weights: UnsafePointer<Float>, into dx: Elements, accumulate: Bool,
        lines: Range<Int>, scratch: PassScratch
    ) {
        let tiles = correlation.tiles
        tiles.rows(ofLines: lines).forEachBlock(of: tiles.blockRows) { rows in
            correlation.correlate(
                dz, pixelStride: stride, bias: nil, rows: rows, into: dx, stride: correlation.outputs,
                accumulate: accumulate, scratch: scratch)
        }
    }
}
