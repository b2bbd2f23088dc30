import DTrainLayers
import Testing

/// The convolutions that the lecture computes by hand, exactly.
@Suite struct LectureTests {
    private static let signal: [Double] = [
        2, 5, 9, 6, 3, 5, 7, 8, 5, 4, 5, 2, 5, 6, 3, 5, 8, 7, 1, 0, 5, 0, 10, 20, 60,
    ]

    private final class Sequence: Module {
        let conv: Conv1d
        init(stride: Int, padding: Int) { conv = Conv1d(1, kernel: 3, stride: stride, padding: padding, bias: false) }
        func callAsFunction(_ x: Value) -> Value { flatten(conv(x)) }
    }

    private final class Image: Module {
        let conv: Conv2d
        init(stride: Pair, padding: Pair) { conv = Conv2d(1, kernel: 2, stride: stride, padding: padding, bias: false) }
        func callAsFunction(_ x: Value) -> Value { flatten(conv(x)) }
    }

    @Test(arguments: [
        (1, 0, [6, 2, 6, 8, 5, 6, 4, 7, 6, 1, 8, 3, 2, 8, 6, 4, 2, 6, 6, -5, 15, 10, 50]),
        (1, 1, [3, 6, 2, 6, 8, 5, 6, 4, 7, 6, 1, 8, 3, 2, 8, 6, 4, 2, 6, 6, -5, 15, 10, 50, -40]),
        (2, 0, [6, 6, 5, 4, 6, 8, 2, 6, 2, 6, 15, 50]),
        (2, 1, [3, 2, 8, 6, 7, 1, 3, 8, 4, 6, -5, 10, -40]),
    ])
    func signalWithOneMinusOneOne(stride: Int, padding: Int, expected: [Double]) throws {
        let replica = try TestReplica(
            Sequence(stride: stride, padding: padding), input: [25, 1], capacity: 1, threads: 1)
        replica["conv.weight"] = ReferenceTensor([1, 1, 3], [1, -1, 1])
        #expect(replica.evaluate(ReferenceTensor([1, 25, 1], Self.signal), labels: [0]).outputs.values == expected)
    }

    @Test(arguments: [
        (1, 0, [2, -3, 8, 1]),
        (1, 1, [-2, -5, 4, 3, 0, 2, -3, 1, -7, 8, 1, -2, 9, -5, -2, -2]),
        (2, 0, [2]),
        (2, 1, [-2, 4, -7, 1]),
    ])
    func imageWithItsDiagonalKernel(stride: Int, padding: Int, expected: [Double]) throws {
        let image = ReferenceTensor([1, 3, 3, 1], [2, 7, 3, 2, 5, 4, 9, 4, 2])
        let model = Image(stride: Pair(stride, stride), padding: Pair(padding, padding))
        let replica = try TestReplica(model, input: [3, 3, 1], capacity: 1, threads: 1)
        replica["conv.weight"] = ReferenceTensor([1, 1, 2, 2], [-1, 1, 1, -1])
        #expect(replica.evaluate(image, labels: [0]).outputs.values == expected)
    }

    /// The table of multiply-adds: a 5×5 convolution of 28×28×192 to 32 channels, alone and through a 1×1 to 16. The lecture
    /// prints 12,433,648 for the second; 28² · 192 · 16 + 28² · 16 · 32 · 25 is 12,443,648.
    @Test func oneByOneConvolutionSavesMultiplyAdds() throws {
        let wide = Sequential(Conv2d(32, kernel: 5, padding: 2))
        let narrow = Sequential(Conv2d(16, kernel: 1), Conv2d(32, kernel: 5, padding: 2))
        #expect(try modelSize(wide, input: [28, 28, 192]).multiplyAdds == 120_422_400)
        #expect(try modelSize(narrow, input: [28, 28, 192]).multiplyAdds == 12_443_648)
    }
}
