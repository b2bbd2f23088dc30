internal import CKernels

/// The right matrix of a product, rows × columns, packed once a pass into panels of as many columns as two vectors hold:
/// panel × row × column.
struct WeightPanels: Sendable {
    let rows: Int
    let columns: Int

    private var lanes: Int { dt_tile_granularity() }

    /// Floats of the packed matrix; columns beyond the last are zeros.
    var count: Int { rows * ((columns + lanes - 1) / lanes * lanes) }

    /// A panel's columns, the floats of one of its rows, and where it starts.
    func forEachPanel(_ body: (_ columns: Range<Int>, _ rowStride: Int, _ start: Int) -> Void) {
        for first in stride(from: 0, to: columns, by: dt_tile_panel()) {
            let panel = first..<min(first + dt_tile_panel(), columns)
            body(panel, (panel.count + lanes - 1) / lanes * lanes, first * rows)
        }
    }

    /// Packs a matrix: `place(column, row)` is where an element lies. Each thread packs a part of the rows.
    func pack(
        _ run: Run, _ matrix: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>,
        at place: (_ column: Int, _ row: Int) -> Int
    ) {
        let part = run.part(of: rows)
        forEachPanel { panel, rowStride, start in
            for row in part {
                let to = packed + start + row * rowStride
                for column in 0..<rowStride {
                    to[column] = column < panel.count ? matrix[place(panel.lowerBound + column, row)] : 0
                }
            }
        }
    }

    /// The product of a left matrix of `count` rows, `leftStride` floats apart, with one panel of the packed matrix: sets the
    /// panel's columns of `result`, plus a bias, or adds to them.
    func multiply(
        _ left: UnsafePointer<Float>, leftStride: Int, count: Int, panel: Range<Int>, packed: UnsafePointer<Float>,
        rowStride: Int, bias: UnsafePointer<Float>? = nil, into result: UnsafeMutablePointer<Float>, stride: Int,
        accumulate: Bool
    ) {
        var sum = dt_tile_sum()
        sum.count = (rows, 1, 1)
        sum.a_step = (1, 0, 0)
        sum.b_step = (rowStride, 0, 0)
        dt_tile_multiply(
            left, leftStride, packed, &sum, count, panel.count, accumulate ? DT_TILE_ADD : DT_TILE_SET,
            bias.map { $0 + panel.lowerBound }, result + panel.lowerBound, stride)
    }

    /// Floats from one row of a left matrix, or of sums, to the next: whole vectors, and no multiple of the distance at which
    /// lines of memory compete for the same places of a cache.
    static func rowStride(_ columns: Int) -> Int {
        let vector = 16
        let whole = (columns + vector - 1) / vector * vector
        return whole % 128 == 0 ? whole + vector : whole
    }
}
