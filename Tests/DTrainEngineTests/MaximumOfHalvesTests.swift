import CKernels
import DTrainTensor
import Testing

/// Maxima of bf16, which are compared as whole numbers, against those of the same values as floats.
@Suite struct MaximumOfHalvesTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let channels: Int
        let kernel: Int
        let stride: Int
        let padding: Int
        var testDescription: String { "\(channels) channels, kernel \(kernel), stride \(stride), padding \(padding)" }
    }

    static let cases = [
        Case(channels: 10, kernel: 2, stride: 2, padding: 0), Case(channels: 32, kernel: 3, stride: 1, padding: 1),
        Case(channels: 33, kernel: 3, stride: 2, padding: 1), Case(channels: 63, kernel: 2, stride: 2, padding: 0),
        Case(channels: 64, kernel: 3, stride: 2, padding: 0), Case(channels: 100, kernel: 5, stride: 3, padding: 2),
    ]

    /// Few values, so that many are equal, and every kind of number: zeros, the least and the largest, infinities, NaN.
    private static let values = bothSigns([0, 0x0001, 0x3f80, 0x3f81, 0x4000, 0x7f7f, 0x7f80])
    private static let notNumbers = bothSigns([0x7f81, 0x7fc0, 0x7fff])

    private static func bothSigns(_ halves: [UInt32]) -> [Float] {
        (halves + halves.map { $0 | 0x8000 }).map { Float(bitPattern: $0 << 16) }
    }

    @Test(arguments: cases, [false, true])
    func areThoseOfFloats(_ setting: Case, relu: Bool) {
        let (height, width, images) = (9, 8, 2)
        func outputs(_ extent: Int) -> Int { (extent + 2 * setting.padding - setting.kernel) / setting.stride + 1 }
        let window = dt_window(
            height: height, width: width, output_height: outputs(height), output_width: outputs(width),
            kernel_height: setting.kernel, kernel_width: setting.kernel, stride_height: setting.stride,
            stride_width: setting.stride, padding_height: setting.padding, padding_width: setting.padding,
            dilation_height: 1, dilation_width: 1)
        let random = CounterRandom(seed: UInt64(setting.channels), purpose: .synthetic)
        for holdsNaN in [false, true] {
            let choices = Self.values + (holdsNaN ? Self.notNumbers : [])
            let x = (0..<images * height * width * setting.channels).map {
                choices[random.below(choices.count, UInt64($0))]
            }
            let pixels = images * window.output_height * window.output_width
            let stride = setting.channels + 3
            var floats = [Float](repeating: -77, count: pixels * stride)
            var winners = [UInt8](repeating: 0, count: pixels * setting.channels)
            pool(x, isBF16: false, images, setting.channels, window, relu, &floats, stride, &winners)
            var halves = [UInt16](repeating: 0xc29a, count: pixels * stride)
            var halfWinners = winners.map { _ in UInt8(0) }
            pool(
                x.map { UInt16($0.bitPattern >> 16) }, isBF16: true, images, setting.channels, window, relu, &halves,
                stride, &halfWinners)
            for pixel in 0..<pixels {
                for channel in 0..<stride {
                    let (expected, bits) = (floats[pixel * stride + channel], halves[pixel * stride + channel])
                    let actual = Float(bitPattern: UInt32(bits) << 16)
                    #expect(actual == expected || actual.isNaN && expected.isNaN, "pixel \(pixel), channel \(channel)")
                    guard channel < setting.channels, relu || !expected.isNaN else { continue }
                    let index = pixel * setting.channels + channel
                    #expect(halfWinners[index] == winners[index], "winner of pixel \(pixel), channel \(channel)")
                }
            }
        }
    }

    private func pool<Element>(
        _ x: [Element], isBF16: Bool, _ images: Int, _ channels: Int, _ window: dt_window, _ relu: Bool,
        _ y: inout [Element], _ stride: Int, _ winners: inout [UInt8]
    ) {
        var x = x
        x.withUnsafeMutableBytes { x in
            y.withUnsafeMutableBytes { y in
                dt_max_pool_forward(
                    dt_elements(start: x.baseAddress, is_bf16: isBF16 ? 1 : 0), channels, window, 0,
                    images * window.output_height, relu ? 1 : 0,
                    dt_elements(start: y.baseAddress, is_bf16: isBF16 ? 1 : 0), stride, &winners)
            }
        }
    }
}
