import CKernels
import DTrainEngine
import DTrainTensor
import Testing

/// Which way the plan takes for typical convolutions: a rule that took none of them would only show in the speed.
@Suite struct ConvolutionRuleTests {
    private func ways(
        _ image: Shape, _ outputs: Int, kernel: Int, stride: Int = 1, groups: Int = 1, _ precision: Precision = .fp32,
        trains: Bool = true
    ) throws -> [String] {
        let window = WindowGeometry(
            kernel: Pair(kernel, kernel), stride: Pair(stride, stride), padding: Pair(kernel / 2, kernel / 2))
        return try Convolution(outputs: outputs, geometry: window, groups: groups, hasBias: false)
            .ways(input: image, samples: 16, precision: precision, trains: trains)
    }

    @Test func minimalFilteringForKernelsOfStrideOne() throws {
        let all = ["WinogradForward", "WinogradWeightGradient", "WinogradInputGradient"]
        #expect(try ways([56, 56, 64], 64, kernel: 3) == all)
        #expect(try ways([14, 14, 32], 64, kernel: 5) == all)
    }

    @Test func aKernelForEachChannel() throws {
        #expect(
            try ways([14, 14, 64], 64, kernel: 3, groups: 64)
                == ["DepthwiseForward", "DepthwiseWeightGradient", "DepthwiseInputGradient"])
    }

    @Test(.enabled(if: dt_tile_panel() == 32), arguments: [128, 256])
    func smallGroups(channels: Int) throws {
        #expect(
            try ways([56, 56, channels], channels, kernel: 3, groups: 32)
                == ["GroupedForward", "GroupedWeightGradient", "GroupedInputGradient"])
    }

    @Test(.enabled(if: OneDNN.version != nil)) func oneDNNWhereItIsFaster() throws {
        #expect(
            try ways([56, 56, 64], 256, kernel: 1)
                == ["OneDNNForward", "PointwiseWeightGradient", "OneDNNInputGradient"])
        #expect(
            try ways([56, 56, 256], 64, kernel: 1) == ["OneDNNForward", "OneDNNWeightGradient", "OneDNNInputGradient"])
        // Few outputs, which do not fill the vectors of minimal filtering's input gradient.
        #expect(
            try ways([14, 14, 16], 24, kernel: 5)
                == ["WinogradForward", "WinogradWeightGradient", "OneDNNInputGradient"])
        #expect(try ways([224, 224, 3], 64, kernel: 7, stride: 2)[0] == "OneDNNForward")
    }

    @Test(.enabled(if: OneDNN.version != nil && Precision.bf16.obstacle == nil)) func bf16() throws {
        let weightGradient = dt_bf16_processor() == DT_BF16_AMX ? "PairedWeightGradient" : "OneDNNWeightGradient"
        #expect(
            try ways([56, 56, 64], 256, kernel: 1, .bf16) == ["OneDNNForward", weightGradient, "OneDNNInputGradient"])
        #expect(try ways([14, 14, 256], 1024, kernel: 1, .bf16)[1] == "PairedWeightGradient")
    }

    /// Where threads have no sample of their own, ways that share lines take oneDNN's place; a sequence has a single line.
    @Test(.enabled(if: OneDNN.version != nil)) func oneDNNGivesWayToLines() throws {
        let image: Shape = [28, 28, 128]
        #expect(try areByOneDNN(image, kernel: 1, samples: 4, threads: 4) == [true, true, true])
        #expect(try areByOneDNN(image, kernel: 1, samples: 4, threads: 5) == [false, false, false])
        #expect(
            try areByOneDNN([60, 128], kernel: Pair(1, 3), stride: 2, samples: 4, threads: 8) == [true, true, true])
        // The output has one line, the image has three.
        #expect(
            try areByOneDNN([3, 28, 128], kernel: Pair(3, 3), stride: 2, samples: 4, threads: 8) == [true, true, false])
    }

    /// In bf16 our ways for 1×1 kernels are fp32: so many more threads must have work.
    @Test(.enabled(if: OneDNN.version != nil && Precision.bf16.obstacle == nil)) func oneDNNGivesWayToLinesInBF16()
        throws
    {
        let worth = dt_bf16_processor() == DT_BF16_AMX ? 8 : 2
        func areByOneDNN(height: Int, threads: Int) throws -> [Bool] {
            try self.areByOneDNN([height, 28, 128], kernel: 1, samples: 2, threads: threads, .bf16)
        }
        for (height, threads) in [(28, 2 * worth), (worth, 2 * worth + 1)] {
            let ways = try areByOneDNN(height: height, threads: threads)
            #expect(ways[0] && ways[2])
        }
        #expect(try areByOneDNN(height: worth + 1, threads: 2 * worth + 1) == [false, false, false])
    }

    private func areByOneDNN(
        _ image: Shape, kernel: Pair, stride: Int = 1, samples: Int, threads: Int, _ precision: Precision = .fp32
    ) throws -> [Bool] {
        let window = WindowGeometry(kernel: kernel, stride: Pair(1, stride))
        return try Convolution(outputs: 128, geometry: window, groups: 1, hasBias: false)
            .ways(input: image, samples: samples, threads: threads, precision: precision)
            .map { $0.hasPrefix("OneDNN") }
    }

    /// The gradients of a plan that only evaluates stay unused, and oneDNN's take time to make.
    @Test(.enabled(if: OneDNN.version != nil), arguments: [1, 3]) func evaluationMakesNoGradientsByOneDNN(kernel: Int)
        throws
    {
        let ways = try ways([56, 56, 64], 256, kernel: kernel, trains: false)
        #expect(ways[0] == "OneDNNForward" && !ways[1...].contains { $0.hasPrefix("OneDNN") }, "\(ways)")
    }

    @Test(.enabled(if: OneDNN.version == nil)) func ownProductsWithoutOneDNN() throws {
        #expect(
            try ways([56, 56, 64], 256, kernel: 1)
                == ["PointwiseForward", "PointwiseWeightGradient", "PointwiseInputGradient"])
    }
}
