import DTrainLayers
import DTrainTensor

/// A small network that shows one operation, or a few that belong together.
final class Network: Module {
    let name: String
    let input: Shape
    /// A layer with parameters before everything else, where the network has none: a replica wants something to train.
    private let stem: (any Module)?
    let layers: [any Module]
    private let body: ([any Module], Value) -> Value

    init(
        _ name: String, _ input: Shape, _ layers: [any Module] = [],
        _ body: @escaping ([any Module], Value) -> Value = { layers, x in layers.reduce(x) { $1($0) } }
    ) {
        self.name = name
        self.input = input
        self.layers = layers
        self.body = body
        switch layers.isEmpty ? input.rank : 0 {
        case 3: stem = Conv2d(input[2], kernel: 1)
        case 2: stem = Conv1d(input[1], kernel: 1)
        case 1: stem = Linear(input[0])
        default: stem = nil
        }
    }

    func callAsFunction(_ x: Value) -> Value { body(layers, stem?(x) ?? x) }
}

extension Network {
    /// Every operation that evaluation has, at numbers that are not the defaults. What is returned is flattened where it is
    /// no row of features, so that the order of its elements is checked too.
    static func all() -> [Network] { layersWithWeights() + poolings() + normalizations() + functions() }

    private static func layersWithWeights() -> [Network] {
        [
            Network(
                "convolution", [9, 8, 4],
                [
                    Conv2d(
                        6, kernel: Pair(3, 2), stride: Pair(2, 1), padding: Pair(1, 0), dilation: Pair(1, 2), groups: 2)
                ]
            ) { flatten($0[0]($1)) },
            Network("convolution-depthwise", [7, 7, 3], [Conv2d(3, kernel: 3, padding: 1, groups: 3, bias: false)]) {
                flatten($0[0]($1))
            },
            Network(
                "convolution-sequence", [11, 4], [Conv1d(6, kernel: 3, stride: 2, padding: 1, dilation: 2, groups: 2)]
            ) { flatten($0[0]($1)) },
            Network(
                "transposed-convolution", [4, 5, 4],
                [
                    ConvTranspose2d(
                        6, kernel: Pair(3, 4), stride: Pair(2, 3), padding: Pair(1, 0), outputPadding: Pair(1, 2),
                        dilation: Pair(2, 1), groups: 2)
                ]
            ) { flatten($0[0]($1)) },
            Network("linear", [12], [Linear(7, bias: false), Linear(5)]) { $0[1](relu($0[0]($1))) },
            Network("linear-of-image", [4, 5, 3], [Conv2d(4, kernel: 2), Linear(6)]) {
                $0[1](tanh(flatten($0[0]($1))))
            },
            Network("linear-of-sequence", [6, 3], [Conv1d(4, kernel: 2), Linear(6)]) { $0[1](flatten($0[0]($1))) },
            Network("linear-of-steps", [6, 3], [Linear(4)]) { flatten($0[0]($1)) },
            Network("linear-of-pixels", [3, 4, 5], [Linear(4, bias: false)]) { flatten($0[0]($1)) },
            Network("shared", [6], [Linear(6)]) { $0[0](relu($0[0]($1))) },
        ]
    }

    private static func poolings() -> [Network] {
        func pooling(_ name: String, _ input: Shape, _ pool: @escaping (Value) -> Value) -> Network {
            Network(name, input) { flatten(pool($1)) }
        }
        return [
            pooling("max-pool", [9, 8, 3]) { maxPool($0, kernel: Pair(3, 2), stride: Pair(2, 1), padding: Pair(1, 0)) },
            pooling("max-pool-ceil", [8, 6, 3]) { maxPool($0, kernel: 3, stride: 2, ceilMode: true) },
            // The last window would begin in the padding and is left out.
            pooling("max-pool-ceil-dropped", [4, 7, 3]) {
                maxPool($0, kernel: 2, stride: 3, padding: 1, ceilMode: true)
            },
            pooling("max-pool-sequence", [9, 3]) { maxPool($0, kernel: 3, stride: 2, padding: 1) },
            pooling("average-pool", [9, 8, 3]) { averagePool($0, kernel: 3, stride: 2, padding: 1) },
            pooling("average-pool-image-alone", [9, 8, 3]) {
                averagePool($0, kernel: 3, stride: 2, padding: 1, countsPadding: false)
            },
            pooling("average-pool-ceil", [8, 6, 3]) { averagePool($0, kernel: 3, stride: 2, ceilMode: true) },
            pooling("average-pool-ceil-padded", [8, 9, 3]) {
                averagePool($0, kernel: 3, stride: 2, padding: 1, ceilMode: true)
            },
            pooling("average-pool-ceil-image-alone", [8, 9, 3]) {
                averagePool($0, kernel: 3, stride: 2, padding: 1, ceilMode: true, countsPadding: false)
            },
            pooling("average-pool-ceil-dropped", [4, 7, 3]) {
                averagePool($0, kernel: 2, stride: 3, padding: 1, ceilMode: true)
            },
            pooling("average-pool-sequence", [8, 3]) {
                averagePool($0, kernel: 3, stride: 2, padding: 1, ceilMode: true)
            },
            pooling("global-average", [5, 7, 4], globalAveragePool),
            pooling("global-maximum", [5, 7, 4]) { adaptiveMaxPool($0, to: 1) },
            pooling("adaptive-average-even", [6, 4, 3]) { adaptiveAveragePool($0, to: Pair(3, 2)) },
            pooling("adaptive-maximum-even", [6, 4, 3]) { adaptiveMaxPool($0, to: Pair(3, 4)) },
            pooling("adaptive-average-uneven", [7, 5, 3]) { adaptiveAveragePool($0, to: Pair(3, 4)) },
            pooling("adaptive-maximum-uneven", [7, 4, 3]) { adaptiveMaxPool($0, to: Pair(4, 4)) },
            pooling("adaptive-average-larger", [2, 3, 3]) { adaptiveAveragePool($0, to: Pair(5, 1)) },
            pooling("adaptive-average-sequence", [7, 3]) { adaptiveAveragePool($0, to: 3) },
        ]
    }

    private static func normalizations() -> [Network] {
        func layer(_ name: String, _ input: Shape, _ layer: any Module) -> Network {
            Network(name, input, [layer, Linear(3)]) { $0[1](flatten($0[0]($1))) }
        }
        func response(_ name: String, _ input: Shape, size: Int) -> Network {
            Network(name, input) { flatten(localResponseNorm($1, size: size, alpha: 0.9, beta: 0.6, k: 1.5)) }
        }
        return [
            layer("batch-norm", [5, 4, 3], BatchNorm2d(epsilon: 0.01)),
            layer("batch-norm-plain", [5, 4, 3], BatchNorm2d(affine: false)),
            layer("batch-norm-sequence", [5, 4], BatchNorm1d()),
            layer("batch-norm-features", [6], BatchNorm1d(epsilon: 0.1)),
            layer("group-norm", [5, 4, 6], GroupNorm(3, epsilon: 0.01)),
            layer("group-norm-plain", [5, 4, 6], GroupNorm(2, affine: false)),
            layer("group-norm-sequence", [5, 6], GroupNorm(2)),
            layer("group-norm-features", [8], GroupNorm(2)),
            layer("instance-norm", [5, 4, 3], InstanceNorm2d(epsilon: 0.1, affine: true)),
            layer("layer-norm-pixels", [5, 4, 6], LayerNorm(epsilon: 0.01)),
            layer("layer-norm-steps", [5, 6], LayerNorm(affine: false)),
            layer("layer-norm-features", [8], LayerNorm()),
            layer("layer-norm-image", [5, 4, 3], LayerNorm(over: .sample)),
            layer("layer-norm-sequence", [5, 4], LayerNorm(over: .sample)),
            response("local-response", [3, 4, 7], size: 5),
            response("local-response-even", [3, 4, 7], size: 4),
            response("local-response-sequence", [4, 7], size: 3),
        ]
    }

    private static func functions() -> [Network] {
        func function(_ name: String, _ input: Shape, _ function: @escaping (Value) -> Value) -> Network {
            Network(name, input) { function($1) }
        }
        return [
            function("activations", [3, 4, 5]) { x in
                flatten(concatenate([relu(x), tanh(x), sigmoid(x), leakyReLU(x, slope: 0.2)]))
            },
            function("arithmetic", [3, 4, 2]) { x in
                flatten(concatenate([x + tanh(x), x * sigmoid(x), 0.5 * x, x + 2, 1 - x]))
            },
            function("channel-scaling", [3, 4, 3]) { x in
                flatten(scaleChannels(x, by: [0.5, -1, 2], adding: [1, 0, -3]))
            },
            function("channel-scaling-features", [2]) { x in scaleChannels(x, by: [0.5, -1], adding: [1, 0]) },
            function("concatenate-features", [6]) { x in concatenate([x, tanh(x)]) },
            function("concatenate-sequences", [4, 3]) { x in flatten(concatenate([x, tanh(x)])) },
            // A sum of flattened images is in PyTorch's order, an activation keeps the image's.
            function("flatten", [3, 4, 2]) { x in flatten(x) + tanh(flatten(x)) },
            function("reshape-to-image", [24]) { x in flatten(softmax(reshape(x, to: [2, 3, 4]))) },
            function("reshape-image", [3, 4, 2]) { x in flatten(softmax(reshape(x, to: [2, 2, 6]))) },
            function("reshape-to-sequence", [3, 4, 2]) { x in flatten(softmax(reshape(relu(x), to: [6, 4]))) },
            function("softmax-features", [7]) { x in softmax(x) },
            function("softmax-pixels", [3, 4, 5]) { x in flatten(softmax(x)) },
            function("shortcut", [5, 4, 3]) { x in flatten(zeroPaddingShortcut(x, channels: 6, stride: 2)) },
            function("shortcut-of-pixels", [5, 4, 3]) { x in flatten(zeroPaddingShortcut(x, channels: 3, stride: 2)) },
            function("shortcut-of-channels", [6, 3]) { x in flatten(zeroPaddingShortcut(x, channels: 5, stride: 1)) },
        ]
    }
}
