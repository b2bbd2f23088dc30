internal import CKernels

/// The right matrix of the products of every step, depth × columns: a weight, laid out in panels once a pass.
struct StepWeight {
    let depth: Int
    let columns: Int
    let isBF16: Bool

    private var panel: Int { isBF16 ? dt_bf16_panel() : dt_tile_panel() }

    /// Floats of the matrix in panels.
    var count: Int {
        isBF16 ? dt_bf16_packed_count(columns, depth) : (columns + panel - 1) / panel * panel * depth
    }

    /// This thread's part of laying out a matrix with rows of `stride` floats, or its transpose.
    func pack(
        _ run: Run, _ matrix: UnsafePointer<Float>, stride: Int, transposed: Bool,
        into packed: UnsafeMutablePointer<Float>
    ) {
        let part = run.part(of: columns, granularity: panel)
        let start = matrix + part.lowerBound * (transposed ? stride : 1)
        if isBF16 {
            dt_bf16_pack(
                dt_bf16_factor(start: start, stride: stride, along: transposed), part.count, depth,
                packed + dt_bf16_packed_count(part.lowerBound, depth))
        } else {
            dt_pack_panels(
                start, depth, part.count, transposed ? 1 : stride, transposed ? stride : 1, panel,
                packed + part.lowerBound * depth)
        }
    }

    /// c (+)= a · the matrix, for `rows` rows.
    ///
    /// - Parameter scratch: what a `MatrixProduct` of the same precision needs of the thread.
    func multiply(
        _ a: UnsafePointer<Float>, stride: Int, rows: Int, packed: UnsafePointer<Float>, accumulate: Bool,
        into c: UnsafeMutablePointer<Float>, stride cStride: Int, scratch: UnsafeMutablePointer<Float>
    ) {
        guard rows > 0, columns > 0 else { return }
        if isBF16 {
            return dt_bf16_multiply_packed(
                dt_bf16_factor(start: a, stride: stride, along: true), packed, rows, columns, depth, accumulate, c,
                cStride, scratch)
        }
        var sum = dt_tile_sum(count: (depth, 1, 1), a_step: (1, 0, 0), b_step: (panel, 0, 0))
        for first in Swift.stride(from: 0, to: columns, by: panel) {
            dt_tile_multiply(
                a, stride, packed + first * depth, &sum, rows, min(panel, columns - first),
                accumulate ? DT_TILE_ADD : DT_TILE_SET, nil, c + first, cStride)
        }
    }
}
