import CKernels
import CTileEmulator
import DTrainTensor
import Testing

/// Products of factors that are rounded to bf16 against the textbook: products of two such numbers are exact in fp32, so what
/// is left is the rounding of fp32 sums.
@Suite struct BF16ProductTests {
    /// A random product: extents around the sizes of tiles, panels and blocks, factors stored either way.
    private struct Product: CustomStringConvertible {
        let rows: Int
        let columns: Int
        let depth: Int
        let runsAlong: (a: Bool, b: Bool)
        let accumulates: Bool
        let number: Int

        init(_ number: Int) {
            let random = CounterRandom(seed: UInt64(number), purpose: .synthetic)
            func draw(_ values: [Int], _ index: UInt64) -> Int { values[random.below(values.count, index)] }
            self.number = number
            rows = draw([1, 2, 3, 5, 11, 12, 13, 16, 25, 47, 48, 49, 64, 97], 0)
            columns = draw([1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 63, 65, 100], 1)
            depth = draw([1, 2, 3, 7, 16, 30, 31, 32, 33, 63, 64, 65, 127, 300, 511, 512, 513, 1030], 2)
            runsAlong = (random.below(2, 3) == 0, random.below(2, 4) == 0)
            accumulates = random.below(2, 5) == 0
        }

        init(rows: Int, columns: Int, depth: Int) {
            (self.rows, self.columns, self.depth) = (rows, columns, depth)
            (runsAlong, accumulates, number) = ((false, true), false, 1000)
        }

        var description: String {
            "number \(number), \(rows)×\(depth)\(runsAlong.a ? "" : "ᵀ") by \(depth)×\(columns)\(runsAlong.b ? "ᵀ" : "")"
                + (accumulates ? ", added" : "")
        }
    }

    /// How a product is computed.
    private struct Way {
        let units: dt_bf16_units
        let isPacked: Bool

        /// On a processor with AVX-512-BF16 alone, AMX's instructions are computed in software.
        static var here: [Way] {
            let units =
                dt_bf16_is_fast() && emulate_tiles() ? [DT_BF16_PLAIN, DT_BF16_AVX512, DT_BF16_AMX] : [DT_BF16_PLAIN]
            return units.flatMap { [Way(units: $0, isPacked: false), Way(units: $0, isPacked: true)] }
        }
    }

    private static let parts = 2

    @Test(arguments: 0..<parts)
    func matchesTheTextbook(part: Int) throws {
        for number in stride(from: part, to: 400, by: Self.parts) { check(Product(number)) }
    }

    /// The products of layers are those of what the processor has.
    @Test func theProcessorsOwnUnitsAreTaken() {
        let product = Product(rows: 37, columns: 65, depth: 300)
        let a = factor(lines: product.rows, depth: product.depth, along: true, seed: 1)
        let b = factor(lines: product.columns, depth: product.depth, along: true, seed: 2)
        let scratch = GuardedMemory([Float](repeating: .nan, count: dt_bf16_scratch_count()))
        func multiply(_ body: (UnsafeMutablePointer<Float>) -> Void) -> [Float] {
            var c = [Float](repeating: 0, count: product.rows * product.columns)
            body(&c)
            return c
        }
        let (rows, columns, depth) = (product.rows, product.columns, product.depth)
        let own = multiply {
            dt_bf16_multiply(a.factor, b.factor, rows, columns, depth, false, $0, columns, scratch.slice.base)
        }
        let named = multiply {
            dt_bf16_multiply_by(
                dt_bf16_processor(), a.factor, b.factor, rows, columns, depth, false, $0, columns, scratch.slice.base)
        }
        #expect(own == named)
        guard dt_bf16_is_fast(), dt_bf16_processor() != DT_BF16_AMX, emulate_tiles() else { return }
        let before = emulated_tile_instructions()
        let tiles = multiply {
            dt_bf16_multiply_by(
                DT_BF16_AMX, a.factor, b.factor, rows, columns, depth, false, $0, columns, scratch.slice.base)
        }
        // Of 150 pairs ten steps each for 2 × 3 blocks of sums: loads and products.
        #expect(emulated_tile_instructions() - before > 2 * 3 * 10 * 4)
        #expect(tiles != own && zip(tiles, own).allSatisfy { abs($0 - $1) < 1e-4 })
    }

    /// Pairs as rows, as AMX takes them, are the pairs of panels, and nothing is written behind the last row.
    @Test(.enabled(if: dt_bf16_is_fast())) func rowsOfPairs() {
        for (lines, pairs) in [(1, 1), (16, 16), (47, 33), (100, 7), (64, 240)] {
            let panel = dt_bf16_left_panel()
            let count = (lines + panel - 1) / panel * panel * pairs
            let panels = (0..<count).map(UInt32.init)
            let row = dt_bf16_row(pairs)
            var rows = [UInt32](repeating: .max, count: lines * row + 16)
            dt_bf16_rows_of_pairs(panels, panel, lines, pairs, &rows)
            for line in 0..<lines {
                let expected = (0..<pairs).map { panels[line / panel * panel * pairs + $0 * panel + line % panel] }
                #expect(Array(rows[line * row..<line * row + pairs]) == expected, "line \(line) of \(lines)×\(pairs)")
            }
            #expect(rows[(lines * row)...].allSatisfy { $0 == .max })
        }
    }

    /// More columns and terms than a block has, so that the right factor comes in several slices.
    @Test func largeRightFactor() {
        check(Product(rows: 13, columns: 1101, depth: 515))
        check(Product(rows: 3, columns: 1951, depth: 141))
    }

    private func check(_ product: Product) {
        let (rows, columns, depth) = (product.rows, product.columns, product.depth)
        let a = factor(lines: rows, depth: depth, along: product.runsAlong.a, seed: 2 * product.number)
        let b = factor(lines: columns, depth: depth, along: product.runsAlong.b, seed: 2 * product.number + 1)
        let start = ReferenceTensor.random([rows, columns], seed: product.number + 5000)
        var expected = product.accumulates ? start : ReferenceTensor([rows, columns])
        for row in 0..<rows {
            for column in 0..<columns {
                var sum = 0.0
                for term in 0..<depth { sum += a.rounded[row * depth + term] * b.rounded[column * depth + term] }
                expected[row, column] += sum
            }
        }
        for way in Way.here {
            let actual = compute(product, way, a, b, start)
            expectMatches(actual, expected, tolerance: 1e-5, "\(product), \(way)")
        }
    }

    /// Lines × depth, rounded, and the same as it is stored: what lies between stored rows is not a number, and reading behind
    /// the last one stops the process.
    private func factor(
        lines: Int, depth: Int, along: Bool, seed: Int
    ) -> (rounded: [Double], stored: GuardedMemory, factor: dt_bf16_factor) {
        let values = ReferenceTensor.random([lines, depth], seed: seed)
        let (storedRows, length) = along ? (lines, depth) : (depth, lines)
        let stride = length + 3
        var stored = [Float](repeating: .nan, count: storedRows * stride - 3)
        for line in 0..<lines {
            for term in 0..<depth {
                let value = Float(values[line, term])
                stored[along ? line * stride + term : term * stride + line] = value
            }
        }
        let memory = GuardedMemory(stored)
        return (
            values.values.map(bf16), memory, dt_bf16_factor(start: memory.slice.base, stride: stride, along: along)
        )
    }

    private func compute(
        _ product: Product, _ way: Way, _ a: (rounded: [Double], stored: GuardedMemory, factor: dt_bf16_factor),
        _ b: (rounded: [Double], stored: GuardedMemory, factor: dt_bf16_factor), _ start: ReferenceTensor
    ) -> ReferenceTensor {
        let (rows, columns, depth) = (product.rows, product.columns, product.depth)
        let stride = columns + 5
        var values = [Float](repeating: -77, count: (rows - 1) * stride + columns)
        for row in 0..<rows {
            for column in 0..<columns { values[row * stride + column] = Float(start[row, column]) }
        }
        let c = GuardedMemory(values)
        // Nothing may depend on what scratch memory holds.
        let scratch = GuardedMemory([Float](repeating: .nan, count: dt_bf16_scratch_count()))
        if way.isPacked {
            let packed = GuardedMemory([Float](repeating: .nan, count: dt_bf16_packed_count(columns, depth)))
            // Two threads would pack a part each.
            let first = min(columns, columns / 2 / dt_bf16_panel() * dt_bf16_panel())
            var rest = b.factor
            rest.start += first * (rest.along ? rest.stride : 1)
            dt_bf16_pack(b.factor, first, depth, packed.slice.base)
            dt_bf16_pack(
                rest, columns - first, depth, packed.slice.base + dt_bf16_packed_count(first, depth))
            dt_bf16_multiply_packed_by(
                way.units, a.factor, packed.slice.base, rows, columns, depth, product.accumulates, c.slice.base, stride,
                scratch.slice.base)
        } else {
            dt_bf16_multiply_by(
                way.units, a.factor, b.factor, rows, columns, depth, product.accumulates, c.slice.base, stride,
                scratch.slice.base)
        }
        var result = ReferenceTensor([rows, columns])
        var untouched = true
        for (index, value) in c.slice.array().enumerated() {
            if index % stride < columns {
                result[index / stride, index % stride] = Double(value)
            } else if value != -77 {
                untouched = false
            }
        }
        #expect(untouched, "\(product), \(way): wrote between the rows of the result")
        return result
    }
}
