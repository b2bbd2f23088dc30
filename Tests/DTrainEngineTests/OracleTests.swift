import Testing

/// The oracles that judge the engine are themselves judged: by PyTorch's float64 results at non-default settings, and by
/// finite differences.
@Suite struct OracleTests {
    private let tolerance = 1e-9

    @Test func convolution2dMatchesPyTorch() throws {
        for reference in try TorchCase.load("conv2d") {
            let oracle = ConvolutionOracle(
                stride: try reference.pair("stride"), padding: try reference.pair("padding"),
                dilation: try reference.pair("dilation"), groups: try reference.integers("groups")[0])
            let (x, weight) = (try reference("x"), try reference("weight"))
            let bias = reference.has("bias") ? try reference("bias") : nil
            let name = reference.testDescription
            expectClose(oracle.forward(x, weight: weight, bias: bias), try reference("y"), tolerance: tolerance, name)
            let gradients = oracle.gradients(x, weight: weight, outputGradient: try reference("outputGradient"))
            expectClose(gradients.x, try reference("dx"), tolerance: tolerance, name + " dx")
            expectClose(gradients.weight, try reference("dweight"), tolerance: tolerance, name + " dweight")
            if bias != nil {
                expectClose(gradients.bias, try reference("dbias"), tolerance: tolerance, name + " dbias")
            }
        }
    }

    @Test func convolution1dMatchesPyTorch() throws {
        for reference in try TorchCase.load("conv1d") {
            let oracle = SequenceConvolutionOracle(
                stride: try reference.integers("stride")[0], padding: try reference.integers("padding")[0],
                dilation: try reference.integers("dilation")[0], groups: try reference.integers("groups")[0])
            let (x, weight) = (try reference("x"), try reference("weight"))
            let bias = reference.has("bias") ? try reference("bias") : nil
            let name = reference.testDescription
            expectClose(oracle.forward(x, weight: weight, bias: bias), try reference("y"), tolerance: tolerance, name)
            let gradients = oracle.gradients(x, weight: weight, outputGradient: try reference("outputGradient"))
            expectClose(gradients.x, try reference("dx"), tolerance: tolerance, name + " dx")
            expectClose(gradients.weight, try reference("dweight"), tolerance: tolerance, name + " dweight")
            if bias != nil {
                expectClose(gradients.bias, try reference("dbias"), tolerance: tolerance, name + " dbias")
            }
        }
    }

    @Test func linearMatchesPyTorch() throws {
        for reference in try TorchCase.load("linear") {
            let (x, weight) = (try reference("x"), try reference("weight"))
            let bias = reference.has("bias") ? try reference("bias") : nil
            let name = reference.testDescription
            expectClose(
                LinearOracle.forward(x, weight: weight, bias: bias), try reference("y"), tolerance: tolerance, name)
            let gradients = LinearOracle.gradients(x, weight: weight, outputGradient: try reference("outputGradient"))
            expectClose(gradients.x, try reference("dx"), tolerance: tolerance, name + " dx")
            expectClose(gradients.weight, try reference("dweight"), tolerance: tolerance, name + " dweight")
            if bias != nil {
                expectClose(gradients.bias, try reference("dbias"), tolerance: tolerance, name + " dbias")
            }
        }
    }

    @Test func poolingMatchesPyTorch() throws {
        for operation in ["max_pool2d", "avg_pool2d"] {
            for reference in try TorchCase.load(operation) {
                let oracle = PoolingOracle(
                    kernel: try reference.pair("kernel"), stride: try reference.pair("stride"),
                    padding: try reference.pair("padding"), ceilMode: reference.flag("ceil", default: false),
                    countsPadding: reference.flag("counts", default: true))
                let (x, gradient) = (try reference("x"), try reference("outputGradient"))
                let name = reference.testDescription
                let isMaximum = operation == "max_pool2d"
                let y = isMaximum ? oracle.maximum(x) : oracle.average(x)
                let dx =
                    isMaximum
                    ? oracle.maximumGradient(x, outputGradient: gradient)
                    : oracle.averageGradient(x, outputGradient: gradient)
                expectClose(y, try reference("y"), tolerance: tolerance, name)
                expectClose(dx, try reference("dx"), tolerance: tolerance, name + " dx")
            }
        }
    }

    @Test func adaptivePoolingMatchesPyTorch() throws {
        for reference in try TorchCase.load("adaptive_avg_pool2d") + TorchCase.load("adaptive_max_pool2d") {
            let oracle = AdaptivePoolingOracle(size: try reference.pair("size"))
            let (x, gradient) = (try reference("x"), try reference("outputGradient"))
            let isMaximum = reference.operation == "adaptive_max_pool2d"
            let name = reference.testDescription
            let dx =
                isMaximum
                ? oracle.maximumGradient(x, outputGradient: gradient)
                : oracle.averageGradient(x, outputGradient: gradient)
            expectClose(
                isMaximum ? oracle.maximum(x) : oracle.average(x), try reference("y"), tolerance: tolerance, name)
            expectClose(dx, try reference("dx"), tolerance: tolerance, name + " dx")
        }
    }

    @Test func localResponseNormMatchesPyTorch() throws {
        for reference in try TorchCase.load("local_response_norm") {
            let oracle = LocalResponseNormOracle(
                size: try reference.integers("size")[0], alpha: try reference.setting("alpha")[0],
                beta: try reference.setting("beta")[0], k: try reference.setting("k")[0])
            let x = try reference("x")
            expectClose(oracle.forward(x), try reference("y"), tolerance: tolerance, reference.testDescription)
            let dx = oracle.gradient(x, outputGradient: try reference("outputGradient"))
            expectClose(dx, try reference("dx"), tolerance: tolerance, reference.testDescription + " dx")
        }
    }

    @Test func transposedConvolutionMatchesPyTorch() throws {
        for reference in try TorchCase.load("conv_transpose2d") {
            let oracle = TransposedConvolutionOracle(
                stride: try reference.pair("stride"), padding: try reference.pair("padding"),
                outputPadding: try reference.pair("outputPadding"), dilation: try reference.pair("dilation"),
                groups: try reference.integers("groups")[0])
            let (x, weight, bias) = (try reference("x"), try reference("weight"), try reference("bias"))
            let name = reference.testDescription
            expectClose(oracle.forward(x, weight: weight, bias: bias), try reference("y"), tolerance: tolerance, name)
            let gradients = oracle.gradients(x, weight: weight, outputGradient: try reference("outputGradient"))
            expectClose(gradients.x, try reference("dx"), tolerance: tolerance, name + " dx")
            expectClose(gradients.weight, try reference("dweight"), tolerance: tolerance, name + " dweight")
            expectClose(gradients.bias, try reference("dbias"), tolerance: tolerance, name + " dbias")
        }
    }

    @Test func normalizationMatchesPyTorch() throws {
        for reference in try TorchCase.load("group_norm") + TorchCase.load("layer_norm") {
            var extent = NormalizationOracle.Extent.channels
            if reference.operation == "group_norm" { extent = .groups(try reference.integers("groups")[0]) }
            if reference.flag("whole", default: false) { extent = .sample }
            let oracle = NormalizationOracle(extent: extent, epsilon: try reference.setting("epsilon")[0])
            /// The parameters of a whole image, channels first in PyTorch, in dtrain's order.
            func parameter(_ name: String) throws -> ReferenceTensor {
                let torch = try reference(name)
                guard torch.shape.count == 3 else { return torch }
                let shape = [torch.shape[1], torch.shape[2], torch.shape[0]]
                return ShapeOracle.flattenGradient(
                    [1] + shape, outputGradient: torch.reshaped([1, torch.values.count])
                ).reshaped(shape)
            }
            let (x, weight) = (try reference("x"), try parameter("weight"))
            let name = reference.testDescription
            expectClose(
                oracle.forward(x, weight: weight, bias: try parameter("bias")), try reference("y"),
                tolerance: tolerance, name)
            let gradients = oracle.gradients(x, weight: weight, outputGradient: try reference("outputGradient"))
            expectClose(gradients.x, try reference("dx"), tolerance: tolerance, name + " dx")
            expectClose(gradients.weight, try parameter("dweight"), tolerance: tolerance, name + " dweight")
            expectClose(gradients.bias, try parameter("dbias"), tolerance: tolerance, name + " dbias")
        }
    }

    @Test func softmaxMatchesPyTorch() throws {
        for reference in try TorchCase.load("softmax") {
            let x = try reference("x")
            let name = reference.testDescription
            expectClose(SoftmaxOracle.forward(x), try reference("y"), tolerance: tolerance, name)
            let dx = SoftmaxOracle.gradient(x, outputGradient: try reference("outputGradient"))
            expectClose(dx, try reference("dx"), tolerance: tolerance, name + " dx")
        }
    }

    @Test func zeroPaddingShortcutMatchesPyTorch() throws {
        for reference in try TorchCase.load("zero_padding_shortcut") {
            let oracle = ZeroPaddingShortcutOracle(
                channels: try reference.integers("channels")[0], stride: try reference.integers("stride")[0])
            let x = try reference("x")
            expectClose(oracle.forward(x), try reference("y"), tolerance: tolerance, reference.testDescription)
            let dx = oracle.gradient(x, outputGradient: try reference("outputGradient"))
            expectClose(dx, try reference("dx"), tolerance: tolerance, reference.testDescription + " dx")
        }
    }

    @Test(arguments: ["relu", "tanh", "sigmoid", "leaky_relu"])
    func activationMatchesPyTorch(_ operation: String) throws {
        for reference in try TorchCase.load(operation) {
            let oracle: ElementwiseOracle =
                switch operation {
                case "relu": .relu
                case "tanh": .tanh
                case "sigmoid": .sigmoid
                default: .leakyReLU(slope: try reference.setting("slope")[0])
                }
            let x = try reference("x")
            expectClose(oracle.forward(x), try reference("y"), tolerance: tolerance, reference.testDescription)
            let dx = oracle.gradient(x, outputGradient: try reference("outputGradient"))
            expectClose(dx, try reference("dx"), tolerance: tolerance, reference.testDescription + " dx")
        }
    }

    @Test func additionConcatenationAndFlatteningMatchPyTorch() throws {
        for reference in try TorchCase.load("add") {
            let y = try reference("x") + reference("other")
            expectClose(y, try reference("y"), tolerance: tolerance, "add")
            expectClose(try reference("dother"), try reference("outputGradient"), tolerance: tolerance, "add dother")
        }
        for reference in try TorchCase.load("mul") {
            let (x, other, dy) = (try reference("x"), try reference("other"), try reference("outputGradient"))
            expectClose(x * other, try reference("y"), tolerance: tolerance, "mul")
            expectClose(dy * other, try reference("dx"), tolerance: tolerance, "mul dx")
            expectClose(dy * x, try reference("dother"), tolerance: tolerance, "mul dother")
        }
        for reference in try TorchCase.load("concatenation") {
            let parts = try (0..<3).map { try reference("x\($0)") }
            expectClose(ShapeOracle.concatenate(parts), try reference("y"), tolerance: tolerance, "concatenation")
            let gradients = ShapeOracle.concatenationGradients(
                parts.map { $0.shape.last! }, outputGradient: try reference("outputGradient"))
            for (index, gradient) in gradients.enumerated() {
                expectClose(gradient, try reference("dx\(index)"), tolerance: tolerance, "concatenation dx\(index)")
            }
        }
        for reference in try TorchCase.load("flatten") {
            let x = try reference("x")
            expectClose(ShapeOracle.flatten(x), try reference("y"), tolerance: tolerance, "flatten")
            let dx = ShapeOracle.flattenGradient(x.shape, outputGradient: try reference("outputGradient"))
            expectClose(dx, try reference("dx"), tolerance: tolerance, "flatten dx")
        }
    }

    @Test func dropoutMatchesPyTorch() throws {
        for reference in try TorchCase.load("dropout") {
            let oracle = DropoutOracle(
                probability: try reference.setting("probability")[0], mask: try reference("mask"))
            expectClose(oracle.forward(try reference("x")), try reference("y"), tolerance: tolerance, "dropout")
            let dx = oracle.gradient(outputGradient: try reference("outputGradient"))
            expectClose(dx, try reference("dx"), tolerance: tolerance, "dropout dx")
        }
    }

    @Test func lossesMatchPyTorch() throws {
        for reference in try TorchCase.load("cross_entropy") {
            let oracle = CrossEntropyOracle(smoothing: try reference.setting("smoothing")[0])
            let (x, labels) = (try reference("x"), try reference("labels").values.map { Int($0) })
            #expect(abs(oracle.forward(x, labels: labels) - (try reference("y").values[0])) < tolerance)
            expectClose(
                oracle.gradient(x, labels: labels), try reference("dx"), tolerance: tolerance, reference.testDescription
            )
        }
        for reference in try TorchCase.load("mse") {
            let (x, target) = (try reference("x"), try reference("target"))
            #expect(abs(SquaredErrorOracle.forward(x, target: target) - (try reference("y").values[0])) < tolerance)
            let dx = SquaredErrorOracle.gradient(x, target: target)
            expectClose(dx, try reference("dx"), tolerance: tolerance, "mse dx")
        }
    }
}
