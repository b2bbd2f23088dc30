import CKernels
import CTileEmulator
import DTrainEngine
import DTrainTensor
import Testing

/// Minimal filtering with bf16 factors: transformed values are those of fp32, rounded, in the order that products of pairs take;
/// the products are those of pairs; and a convolution is the textbook's but for that rounding.
@Suite struct MinimalFilteringTests {
    private struct Draw {
        let random: CounterRandom
        var drawn: UInt64 = 0
        init(_ number: Int) { random = CounterRandom(seed: UInt64(number), purpose: .synthetic, stream: 43) }
        mutating func callAsFunction(_ choices: [Int]) -> Int {
            drawn += 1
            return choices[random.below(choices.count, drawn)]
        }
    }

    private static let lanes = Int(DT_WINOGRAD_LANES)
    private static let planes = Int(DT_WINOGRAD_PLANES)

    /// Transformed values of `rows` rows in each form. What is not written keeps a mark.
    private struct Transformed {
        var floats: [Float]
        var halves: [UInt16]
        var pairs: [UInt16]
        let rows: Int
        let width: Int

        /// - Parameter transform: writes rows of the form; rows and planes are so many floats apart.
        init(
            rows: Int, channels: Int,
            _ transform: (dt_winograd_form, UnsafeMutablePointer<Float>, _ row: Int, _ plane: Int) -> Void
        ) {
            self.rows = rows
            let width = (channels + lanes - 1) / lanes * lanes
            self.width = width
            let pairRows = (rows + 1) / 2
            floats = [Float](repeating: .nan, count: planes * rows * width)
            var memory = [Float](repeating: Float(bitPattern: 0x5555_5555), count: planes * rows * width)
            floats.withUnsafeMutableBufferPointer {
                transform(DT_WINOGRAD_FLOATS, $0.baseAddress!, width, rows * width)
            }
            func halves(_ form: dt_winograd_form, rowCount: Int, row: Int) -> [UInt16] {
                memory.withUnsafeMutableBytes { bytes in
                    bytes.storeBytes(of: 0x5555_5555, as: UInt32.self)
                    transform(
                        form, bytes.assumingMemoryBound(to: Float.self).baseAddress!, row, rowCount * row)
                    return Array(bytes.assumingMemoryBound(to: UInt16.self)[..<(planes * rowCount * row * 2)])
                }
            }
            self.halves = halves(DT_WINOGRAD_HALVES, rowCount: rows, row: width / 2)
            pairs = halves(DT_WINOGRAD_PAIRS, rowCount: pairRows, row: width)
        }

        func expectRounded(_ what: String, hasHalves: Bool = true, channels: Int) {
            let pairRows = (rows + 1) / 2
            var differences = 0
            for plane in 0..<planes {
                for row in 0..<rows {
                    for channel in 0..<channels {
                        let place = (plane * rows + row) * width + channel
                        let expected = roundedBits(floats[place])
                        let pair = ((plane * pairRows + row / 2) * width + channel) * 2
                        if hasHalves, halves[place] != expected { differences += 1 }
                        if pairs[pair + row % 2] != expected { differences += 1 }
                        // The second row of the last pair is missing.
                        if row == rows - 1, row % 2 == 0, pairs[pair + 1] != 0 { differences += 1 }
                    }
                }
            }
            #expect(differences == 0, "\(what)")
        }
    }

    private static func roundedBits(_ x: Float) -> UInt16 {
        let bits = x.bitPattern
        return UInt16(truncatingIfNeeded: (bits + 0x7fff + (bits >> 16 & 1)) >> 16)
    }

    @Test func transformedValuesAreRounded() {
        for number in 0..<200 {
            var draw = Draw(number)
            let kernel = draw([3, 5]), side = 7 - kernel
            let (channels, height, width) = (
                draw([1, 5, 15, 16, 17, 32, 40]), draw([1, 2, 4, 7, 9]), draw([3, 4, 6, 9, 13])
            )
            // The image's tiles come in two rows, the second of which may begin in the middle of a pair.
            let tiles = (width + side - 1) / side
            var image = ReferenceTensor.random([height * width, channels], seed: number, in: -2...2).floats
            let what = "number \(number): \(height)×\(width)×\(channels), kernel \(kernel)"
            image.withUnsafeMutableBufferPointer { pixels in
                let elements = dt_elements(start: pixels.baseAddress!, is_bf16: 0)
                let padding = kernel / 2
                Transformed(rows: 2 * tiles, channels: channels) { form, to, row, plane in
                    for line in 0..<2 {
                        dt_winograd_input(
                            kernel, elements, height, width, channels, channels, line * side - padding, -padding, tiles,
                            form,
                            line * tiles, to, row, plane)
                    }
                }.expectRounded("input, \(what)", channels: channels)
                Transformed(rows: 2 * tiles - 1, channels: channels) { form, to, row, plane in
                    for line in 0..<2 where line == 0 || tiles > 1 {
                        dt_winograd_output_gradient(
                            kernel, elements, min(side, height), width, channels, channels, tiles - line, form,
                            line * tiles, to,
                            row, plane)
                    }
                }.expectRounded("gradient, \(what)", channels: channels)
            }
            let outputs = draw([1, 3, 16, 20])
            for turned in [false, true] {
                let (rows, columns) = turned ? (outputs, channels) : (channels, outputs)
                let weights = ReferenceTensor.random(
                    [outputs, kernel * kernel, channels], seed: number + 1, in: -1...1
                ).floats
                let middle = min(rows, 2 * (rows / 4))
                Transformed(rows: rows, channels: columns) { form, to, row, plane in
                    // Two parts, as two threads would.
                    for part in [0..<middle, middle..<rows] {
                        dt_winograd_weights(
                            kernel, weights, outputs, channels, turned ? 1 : 0, (columns + 15) / 16 * 16,
                            part.lowerBound,
                            part.upperBound, form, to, plane)
                    }
                }.expectRounded("weights, \(what), \(outputs) outputs", hasHalves: false, channels: columns)
            }
        }
    }

    /// Pairs that lie as rows or as columns do, against sums in double precision.
    @Test(arguments: [true, false]) func productsOfPairs(isAlong: Bool) {
        for number in 0..<300 {
            var draw = Draw(number + 1000)
            let (rows, columns) = (draw([1, 2, 11, 12, 13, 25, 40]), draw([1, 7, 15, 16, 17, 31, 32]))
            let pairs = draw([1, 2, 3, 8, 33])
            let accumulates = draw([0, 1]) == 1
            func factor(_ count: Int, seed: Int) -> [UInt16] {
                ReferenceTensor.random([count], seed: seed, in: -1...1).floats.map(Self.roundedBits)
            }
            // A whole vector is read beyond the last column.
            let (aRow, aStep, bStep) = isAlong ? (pairs + 3, 1, columns + 5) : (1, rows + 2, columns)
            let a = factor(2 * (rows * aRow + pairs * aStep), seed: number)
            let b = factor(2 * (pairs * bStep + 32), seed: number + 500)
            let start = ReferenceTensor.random([rows, columns], seed: number + 900).floats
            var c = start
            dt_bf16_multiply_pairs(a, aRow, aStep, b, bStep, pairs, rows, columns, accumulates, &c, columns)
            var results = [c]
            if isAlong && dt_bf16_is_fast() && emulate_tiles() {
                var c = start
                dt_bf16_multiply_pairs_by(
                    DT_BF16_AMX, a, aRow, b, bStep, pairs, rows, columns, accumulates, &c, columns)
                results.append(c)
            }
            func value(_ bits: UInt16) -> Double { Double(Float(bitPattern: UInt32(bits) << 16)) }
            var largest = 0.0
            for i in 0..<rows {
                for j in 0..<columns {
                    var sum = accumulates ? Double(start[i * columns + j]) : 0
                    for p in 0..<pairs {
                        let (x, y) = (2 * (i * aRow + p * aStep), 2 * (p * bStep + j))
                        sum += value(a[x]) * value(b[y]) + value(a[x + 1]) * value(b[y + 1])
                    }
                    for c in results { largest = max(largest, abs(Double(c[i * columns + j]) - sum)) }
                }
            }
            #expect(largest < 1e-5, "number \(number): \(rows)×\(pairs)×\(columns)")
        }
    }

    /// The root mean square of what rounding does to outputs and gradients, relative to theirs: the transforms make the 2^-9 of a
    /// factor about five times as large, and a single sum of few terms may lose more.
    @Test(.enabled(if: Precision.bf16.obstacle == nil)) func convolutionsDifferByRoundingAlone() throws {
        var (errors, squares, worst) = ([String: Double](), [String: Double](), (0.0, ""))
        for number in 0..<300 {
            guard let convolution = RandomConvolution(number, .tiles) else { continue }
            let results = try convolution.run(.winograd, precision: .bf16).all
            for (name, expected) in try convolution.run(.unfolded).all where name != "convolution.bias" {
                let actual = results[name]!
                let square = expected.reduce(0.0) { $0 + Double($1 * $1) }
                let error = zip(actual, expected).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
                squares[name, default: 0] += Double(expected.count)
                errors[name, default: 0] += square == 0 ? 0 : error / square * Double(expected.count)
                let relative = (error / max(square, 1e-6)).squareRoot()
                if relative > worst.0 { worst = (relative, "number \(number): \(name), \(convolution)") }
            }
        }
        for (name, error) in errors {
            let relative = (error / squares[name]!).squareRoot()
            #expect(relative < 0.02, "\(name): \(relative)")
        }
        #expect(worst.0 < 0.1, "\(worst.1): \(worst.0)")
    }
}
