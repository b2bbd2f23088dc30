import DTrainEngine
import DTrainTensor
import Testing

/// Convolutions in bf16 against the textbook on factors that are rounded to bf16: products of two such numbers are exact in
/// fp32, so what is left is the rounding of fp32 sums.
@Suite(.enabled(if: Precision.bf16.obstacle == nil)) struct BF16ConvolutionTests {
    private static let parts = 2

    @Test(.enabled(if: OneDNN.version != nil), arguments: 0..<parts)
    func productsOfRoundedFactors(part: Int) throws {
        var compared = 0
        for number in stride(from: part, to: ConvolutionMethodTests.count / 8, by: Self.parts) {
            guard let convolution = RandomConvolution(number), convolution.activation == .identity else { continue }
            compared += 1
            try check(convolution, .oneDNN)
        }
        #expect(compared > 50)
    }

    /// Products of pairs are weight gradients of convolutions without groups; the other products are fp32 then.
    @Test(arguments: 0..<parts)
    func weightGradientsOfPairs(part: Int) throws {
        var compared = 0
        for number in stride(from: part, to: ConvolutionMethodTests.count / 4, by: Self.parts) {
            guard let convolution = RandomConvolution(number), convolution.activation == .identity,
                convolution.groups == 1
            else { continue }
            compared += 1
            try check(convolution, .paired)
        }
        #expect(compared > 50)
    }

    /// More inputs, outputs and pixels than are packed together; of 3 × 3 pixels the last pair has one.
    @Test(arguments: [1, 2])
    func manyChannelsAndPixels(threads: Int) throws {
        for (image, outputs, kernel, stride) in [
            ([3, 3, 270], 100, 1, 1), ([23, 23, 20], 50, 3, 1), ([6, 6, 40], 16, 3, 2),
        ] {
            try check(
                RandomConvolution(
                    image: Shape(image), outputs: outputs, kernel: Pair(kernel, kernel), stride: Pair(stride, stride),
                    padding: Pair(kernel / 2, kernel / 2), rows: 3, threads: threads), .paired)
        }
    }

    private func check(_ convolution: RandomConvolution, _ method: ConvolutionMethod) throws {
        let results = try convolution.run(method, precision: .bf16)
        let (rows, outputs) = (convolution.rows, convolution.outputs)
        let isSequence = convolution.image.rank == 2
        let (height, width) = isSequence ? (1, convolution.image[0]) : (convolution.image[0], convolution.image[1])
        let channels = convolution.image.dimensions.last!
        let window = convolution.window
        let oracle = ConvolutionOracle(
            stride: (window.stride.height, window.stride.width), padding: (window.padding.height, window.padding.width),
            dilation: (window.dilation.height, window.dilation.width), groups: convolution.groups)

        // Sample n is column n of the table, one channel after the other.
        func places(_ body: (_ row: Int, _ feature: Int, _ place: Int) -> Void) {
            let pixels = height * width
            for row in 0..<rows {
                for pixel in 0..<pixels {
                    for channel in 0..<channels {
                        body(row, channel * pixels + pixel, (row * pixels + pixel) * channels + channel)
                    }
                }
            }
        }
        let table = try #require(results.parameters["table.weight"])
        var x = ReferenceTensor([rows, height, width, channels])
        places { row, feature, place in x.values[place] = table[feature, row] }
        let weight = try #require(results.parameters["convolution.weight"])
            .reshaped([outputs, channels / convolution.groups, window.kernel.height, window.kernel.width])
        let roundedX = x.map(bf16)
        let roundedWeight = method == .paired ? weight : weight.map(bf16)
        var y = oracle.forward(roundedX, weight: roundedWeight, bias: results.parameters["convolution.bias"])
        let copies = convolution.use == .twiceConcatenated ? 2 : 1
        if convolution.use == .twiceAdded { y = y + y }

        // Outputs are those of each channel in turn, copy after copy.
        let pixels = y.shape[1] * y.shape[2]
        var gradients = [ReferenceTensor](repeating: ReferenceTensor(y.shape), count: 2)
        var actual = gradients
        for row in 0..<rows {
            for copy in 0..<copies {
                for output in 0..<outputs {
                    for pixel in 0..<pixels {
                        let feature = (copy * outputs + output) * pixels + pixel
                        let value = results.outputs[row * copies * outputs * pixels + feature]
                        let place = (row * pixels + pixel) * outputs + output
                        actual[copy].values[place] = Double(value)
                        gradients[copy].values[place] = Double(2 * (value - (feature == results.labels[row] ? 1 : 0)))
                    }
                }
            }
        }
        let what = "number \(convolution.number), \(convolution):"
        if method != .paired {
            for copy in 0..<copies { expectMatches(actual[copy], y, tolerance: 1e-5, "\(what) output") }
        }
        if convolution.use == .twiceAdded { gradients[1] = gradients[0] }
        if convolution.use == .once { gradients.removeLast() }
        var (dx, dWeight) = (ReferenceTensor(x.shape), ReferenceTensor(weight.shape))
        for gradient in gradients {
            let part = oracle.gradients(roundedX, weight: roundedWeight, outputGradient: gradient.map(bf16))
            dx = dx + part.x
            dWeight = dWeight + part.weight
        }
        var dTable = ReferenceTensor(table.shape)
        places { row, feature, place in dTable[feature, row] = dx.values[place] }
        let weightGradient = try #require(results.gradients["convolution.weight"]).reshaped(weight.shape)
        expectMatches(weightGradient, dWeight, tolerance: 1e-5, "\(what) weight gradient")
        guard method != .paired else { return }
        expectMatches(
            try #require(results.gradients["table.weight"]), dTable, tolerance: 1e-5, "\(what) input gradient")
    }
}
