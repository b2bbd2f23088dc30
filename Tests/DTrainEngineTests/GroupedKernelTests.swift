import CKernels
import DTrainTensor
import Testing

/// The kernels of small groups on every kind of elements: where numbers are bf16 anyway, all give what floats give.
@Suite struct GroupedKernelTests {
    /// Numbers that bf16 holds.
    private func numbers(_ count: Int, _ seed: UInt64) -> [Float] {
        let random = CounterRandom(seed: seed, purpose: .synthetic)
        return (0..<count).map { Float(bitPattern: (random.uniform(UInt64($0)) - 0.5).bitPattern & 0xffff_0000) }
    }

    /// `body` with the numbers as elements of one kind, pixels `stride` apart; returns what it leaves of them.
    private func withPixels(
        _ values: [Float], channels: Int, stride: Int, isBF16: Bool, _ body: (dt_pixels) -> Void
    ) -> [Float] {
        func place(_ index: Int) -> Int { index / channels * stride + index % channels }
        let count = values.count / channels * stride
        func pixels(_ start: UnsafeMutableRawPointer) -> dt_pixels {
            dt_pixels(elements: dt_elements(start: start, is_bf16: isBF16 ? 1 : 0), stride: stride)
        }
        if isBF16 {
            var halves = [UInt16](repeating: 0, count: count)
            for (index, value) in values.enumerated() { halves[place(index)] = UInt16(value.bitPattern >> 16) }
            halves.withUnsafeMutableBytes { body(pixels($0.baseAddress!)) }
            return values.indices.map { Float(bitPattern: UInt32(halves[place($0)]) << 16) }
        }
        var floats = [Float](repeating: 0, count: count)
        for (index, value) in values.enumerated() { floats[place(index)] = value }
        floats.withUnsafeMutableBytes { body(pixels($0.baseAddress!)) }
        return values.indices.map { floats[place($0)] }
    }

    private func rounded(_ value: Float) -> Float {
        let bits = value.bitPattern
        return Float(bitPattern: (bits &+ 0x7fff &+ (bits >> 16 & 1)) & 0xffff_0000)
    }

    @Test(arguments: [4, 8], [1, 2, 7, 11, 16, 21])
    func elementsOfEveryKind(groupSize: Int, width: Int) {
        let (channels, height, samples) = (48, 3, 2)
        let window = dt_window(
            height: height, width: width, output_height: height, output_width: width, kernel_height: 3,
            kernel_width: 3, stride_height: 1, stride_width: 1, padding_height: 1, padding_width: 1,
            dilation_height: 1, dilation_width: 1)
        let (count, lines) = (samples * height * width * channels, samples * height)
        let (x, y, weights, bias) = (
            numbers(count, 1), numbers(count, 2), numbers(channels * 9 * groupSize, 3), numbers(channels, 4)
        )
        var packed = weights
        dt_grouped_pack(weights, groupSize, 0, channels / 16, 0, &packed)

        func results(_ xIsBF16: Bool, _ yIsBF16: Bool, accumulate: Int32) -> (output: [Float], sums: [Float]) {
            var output: [Float] = []
            var sums = [Float](repeating: 0.5, count: weights.count)
            _ = withPixels(x, channels: channels, stride: channels, isBF16: xIsBF16) { x in
                output = withPixels(y, channels: channels, stride: channels + 3, isBF16: yIsBF16) { y in
                    dt_grouped_weight_gradient(x, y, channels, groupSize, window, 0, lines, &sums)
                    dt_grouped_forward(
                        x, packed, bias, channels, groupSize, window, 0, lines, y, accumulate)
                }
            }
            return (output, sums)
        }
        for accumulate: Int32 in [0, 1] {
            let expected = results(false, false, accumulate: accumulate)
            for (xIsBF16, yIsBF16) in [(true, true), (true, false), (false, true)] {
                let actual = results(xIsBF16, yIsBF16, accumulate: accumulate)
                #expect(actual.output == (yIsBF16 ? expected.output.map(rounded) : expected.output))
                #expect(actual.sums == expected.sums)
            }
        }
    }
}
