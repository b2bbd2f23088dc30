internal import CKernels

/// The right matrix of a product, rows × columns, packed once a pass into panels of as many columns as two vectors hold:
/// panel × row × column.
struct WeightPanels: Sendable {
    let rows: Int
    let columns: Int

    private var lanes: Int { dt_tile_lanes() }

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

    /// Floats from one row of a left matrix, or of sums, to the next: whole vectors, and no multiple of the distance at which
    /// lines of memory compete for the same places of a cache.
    static func rowStride(_ columns: Int) -> Int {
        let lanes = Int(DT_WINOGRAD_LANES)
        let whole = (columns + lanes - 1) / lanes * lanes
        return whole % 128 == 0 ? whole + lanes : whole
    }
}
