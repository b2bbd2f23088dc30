internal import CKernels

/// Convolution as matrix products over OpenBLAS, for every geometry on every processor.
///
/// Windows are unfolded into rows, a block of output lines at a time so that a block stays in the L2 cache. With
/// K = kernel height × kernel width × channels / groups:
///
///     forward            Y[pixels × O]  = rows[pixels × K] · Wᵀ
///     weight gradient    dW[O × K]     += dZᵀ · rows
///     input gradient     rows          = dZ · W,  folded back onto dX
struct UnfoldedRows: Sendable {
    /// Floats of unfolded rows in a block.
    private static let blockFloats = 32 * 1024

    let geometry: ConvolutionGeometry
    /// Output lines in a block.
    let blockLines: Int

    init(_ geometry: ConvolutionGeometry) {
        self.geometry = geometry
        let pixels = min(1024, Self.blockFloats / geometry.rowLength)
        blockLines = max(1, pixels / geometry.window.output_width)
    }

    var width: Int { geometry.window.output_width }
    var blockCount: Int {
        blockLines * width * geometry.rowLength + Int(DT_UNFOLD_SLACK)
    }

    /// The rows of one group's windows.
    func unfold(
        _ x: UnsafePointer<Float>, group: Int, lines: Range<Int>, into rows: UnsafeMutablePointer<Float>
    ) -> UnsafePointer<Float> {
        dt_unfold(
            x + group * geometry.inputsPerGroup, geometry.inputs, geometry.inputsPerGroup, geometry.window,
            lines.lowerBound, lines.count, rows)
        return UnsafePointer(rows)
    }
}

struct UnfoldedForward: ForwardPass {
    let addsBias = false
    private let rows: UnfoldedRows

    init(_ geometry: ConvolutionGeometry) { rows = UnfoldedRows(geometry) }

    var memory: PassMemory { PassMemory(perThread: rows.blockCount) }

    func forward(
        _ x: Elements, weights: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
        into y: Elements, stride: Int, accumulate: Bool, lines: Range<Int>, scratch: PassScratch,
        finish: (_ lines: Range<Int>) -> Void
    ) {
        let (x, y) = (x.floats, y.floats)
        let (geometry, k) = (rows.geometry, rows.geometry.rowLength)
        lines.forEachBlock(of: rows.blockLines) { block in
            for group in 0..<geometry.groups {
                let first = group * geometry.outputsPerGroup
                GEMM.multiply(
                    .no, .yes, m: block.count * rows.width, n: geometry.outputsPerGroup, k: k,
                    a: rows.unfold(x, group: group, lines: block, into: scratch.own), lda: k, b: weights + first * k,
                    ldb: k, beta: accumulate ? 1 : 0, c: y + block.lowerBound * rows.width * stride + first, ldc: stride
                )
            }
            finish(block)
        }
    }
}

struct UnfoldedWeightGradient: WeightGradientPass {
    private let rows: UnfoldedRows

    init(_ geometry: ConvolutionGeometry) { rows = UnfoldedRows(geometry) }

    /// The thread's sum, then a block of rows.
    var memory: PassMemory { PassMemory(perThread: rows.geometry.weightCount + rows.blockCount) }

    func begin(_ scratch: PassScratch) { scratch.own.update(repeating: 0, count: rows.geometry.weightCount) }

    func add(
        _ x: Elements, _ dz: Elements, stride: Int, lines: Range<Int>, scratch: PassScratch
    ) {
        let (x, dz) = (x.floats, dz.floats)
        let (geometry, k) = (rows.geometry, rows.geometry.rowLength)
        lines.forEachBlock(of: rows.blockLines) { block in
            for group in 0..<geometry.groups {
                let first = group * geometry.outputsPerGroup
                let unfolded = rows.unfold(x, group: group, lines: block, into: scratch.own + geometry.weightCount)
                GEMM.multiply(
                    .yes, .no, m: geometry.outputsPerGroup, n: k, k: block.count * rows.width,
                    a: dz + block.lowerBound * rows.width * stride + first, lda: stride, b: unfolded, ldb: k, beta: 1,
                    c: scratch.own + first * k, ldc: k)
            }
        }
    }

    func finish(
        _ run: Run, active: Int, into gradient: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: PassScratch
    ) {
        let part = run.part(of: rows.geometry.weightCount, granularity: 16)
        for thread in 0..<active {
            dt_copy_rows(
                scratch.own(of: thread) + part.lowerBound, part.count, gradient + part.lowerBound, part.count, 1,
                part.count, accumulate || thread > 0 ? 1 : 0)
        }
    }
}

struct UnfoldedInputGradient: InputGradientPass {
    private let rows: UnfoldedRows

    init(_ geometry: ConvolutionGeometry) { rows = UnfoldedRows(geometry) }

    var memory: PassMemory { PassMemory(perThread: rows.blockCount) }

    func propagate(
        _ dz: Elements, stride: Int, weights: UnsafePointer<Float>, into dx: Elements,
        accumulate: Bool, lines: Range<Int>, scratch: PassScratch
    ) {
        let (dz, dx) = (dz.floats, dx.floats)
        let (geometry, k) = (rows.geometry, rows.geometry.rowLength)
        geometry.forEachBand(of: lines) { band in
            let target = dx + band.firstElement
            if !accumulate { target.update(repeating: 0, count: band.elementCount) }
            band.outputs.forEachBlock(of: rows.blockLines) { block in
                for group in 0..<geometry.groups {
                    let first = group * geometry.outputsPerGroup
                    GEMM.multiply(
                        .no, .no, m: block.count * rows.width, n: k, k: geometry.outputsPerGroup,
                        a: dz + block.lowerBound * rows.width * stride + first, lda: stride, b: weights + first * k,
                        ldb: k, beta: 0, c: scratch.own, ldc: k)
                    dt_fold_add(
                        scratch.own, geometry.inputsPerGroup, band.window, block.lowerBound - band.outputs.lowerBound,
                        block.count, target + group * geometry.inputsPerGroup, geometry.inputs)
                }
            }
        }
    }
}
