import DTrainLayers
import Testing

/// The linear layer against its oracle, on features, sequences and flattened images.
@Suite struct LinearTests {
    /// Outputs below and above the number at which threads share outputs instead of rows.
    @Test(arguments: [(1, 1), (7, 3), (13, 16), (5, 49), (33, 100)], 1...3)
    func featuresMatchOracle(_ extents: (inputs: Int, outputs: Int), threads: Int) throws {
        for bias in [true, false] {
            for activation in [nil, "tanh", "relu", "sigmoid", "leakyReLU"] {
                try check([extents.inputs], outputs: extents.outputs, bias: bias, rows: 3, threads: threads, activation)
            }
        }
    }

    /// A row for each pixel or time step, sharing the weights.
    @Test(arguments: [[4, 5], [1, 3], [3, 2, 4]], [1, 3])
    func lastExtentOfSequencesAndImages(_ shape: [Int], threads: Int) throws {
        try check(shape, outputs: 6, bias: true, rows: 2, threads: threads, nil)
        try check(shape, outputs: 6, bias: false, rows: 1, threads: threads, "tanh")
    }

    /// The weight's columns are in PyTorch's order (channel × height × width) although the image lies channels last.
    @Test(arguments: [[3, 2, 4], [1, 5, 2], [4, 4, 1]], 1...2)
    func flattenedImageMatchesOracle(_ shape: [Int], threads: Int) throws {
        let weight = ReferenceTensor.random([6, shape.reduce(1, *)], seed: 21)
        let bias = ReferenceTensor.random([6], seed: 22)
        let layer = Linear(6)
        try OperationCheck(
            inputs: [shape], layer: layer, parameters: ["weight": weight, "bias": bias], rows: 3, threads: threads,
            apply: { layer(flatten(tanh($0[0]))) },
            forward: {
                LinearOracle.forward(ShapeOracle.flatten(ElementwiseOracle.tanh.forward($0[0])), weight: weight, bias: bias)
            },
            gradients: { x, dy in
                let image = ElementwiseOracle.tanh.forward(x[0])
                let result = LinearOracle.gradients(ShapeOracle.flatten(image), weight: weight, outputGradient: dy)
                let dImage = ShapeOracle.flattenGradient(image.shape, outputGradient: result.x)
                let dx = ElementwiseOracle.tanh.gradient(x[0], outputGradient: dImage)
                return ([dx], ["weight": result.weight, "bias": result.bias])
            }
        ).run("flattened \(shape)")
    }

    private func check(
        _ shape: [Int], outputs: Int, bias hasBias: Bool, rows: Int, threads: Int, _ activation: String?
    ) throws {
        let inputs = shape.last!
        let weight = ReferenceTensor.random([outputs, inputs], seed: 21)
        let bias = hasBias ? ReferenceTensor.random([outputs], seed: 22) : nil
        let layer = Linear(outputs, bias: hasBias)
        let function = activation.map(NamedActivation.init)
        func asRows(_ x: ReferenceTensor) -> ReferenceTensor { x.reshaped([x.values.count / x.shape.last!, x.shape.last!]) }
        func product(_ x: ReferenceTensor) -> ReferenceTensor {
            LinearOracle.forward(asRows(x), weight: weight, bias: bias).reshaped(x.shape.dropLast() + [outputs])
        }
        try OperationCheck(
            inputs: [shape], layer: layer, parameters: bias.map { ["weight": weight, "bias": $0] } ?? ["weight": weight],
            rows: rows, threads: threads, isSmooth: activation != "relu" && activation != "leakyReLU",
            apply: { function?.apply(layer($0[0])) ?? layer($0[0]) },
            forward: { function?.oracle.forward(product($0[0])) ?? product($0[0]) },
            gradients: { x, dy in
                let dz = function?.oracle.gradient(product(x[0]), outputGradient: dy) ?? dy
                let result = LinearOracle.gradients(asRows(x[0]), weight: weight, outputGradient: asRows(dz))
                let parameters = hasBias ? ["weight": result.weight, "bias": result.bias] : ["weight": result.weight]
                return ([result.x.reshaped(x[0].shape)], parameters)
            }
        ).run("\(shape) to \(outputs), bias \(hasBias), \(activation ?? "no activation")")
    }
}
