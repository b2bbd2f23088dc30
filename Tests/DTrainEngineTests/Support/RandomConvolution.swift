import DTrainLayers
import DTrainTensor
import Testing

/// A convolution drawn from a number, and what surrounds it.
struct RandomConvolution: CustomStringConvertible {
    enum Use: Int { case once, twiceAdded, twiceConcatenated }
    /// What is drawn: any geometry, one for minimal filtering, or one in groups of 4 or 8 channels.
    enum Kind { case any, tiles, smallGroups }

    let image: Shape
    let outputs: Int
    let groups: Int
    let window: WindowGeometry
    let hasBias: Bool
    let activation: Activation
    let use: Use
    let rows: Int
    let threads: Int
    let number: Int

    /// nil where the window does not fit the padded image.
    init?(_ number: Int, _ kind: Kind = .any) {
        let random = CounterRandom(seed: UInt64(number), purpose: .synthetic, stream: 41)
        var drawn: UInt64 = 0
        func draw<Element>(_ choices: [Element]) -> Element {
            drawn += 1
            return choices[random.below(choices.count, drawn)]
        }
        func pair(_ choices: [Int]) -> Pair { Pair(draw(choices), draw(choices)) }
        let tiles = kind != .any
        let isSequence = !tiles && draw([true, false, false, false])
        var kernel = pair([1, 2, 3, 4, 5, 7])
        if tiles { kernel = draw([Pair(3, 3), Pair(5, 5)]) }
        var padding = Pair(draw(Array(0...kernel.height + 2)), draw(Array(0...kernel.width + 2)))
        var dilation = tiles ? Pair(1, 1) : pair([1, 1, 1, 2, 3])
        var stride = tiles ? Pair(1, 1) : pair([1, 1, 2, 3])
        let isDepthwise = !tiles && draw([true, false, false, false, false])
        var channels = draw(
            isDepthwise ? [2, 3, 7, 8, 16, 33, 43] : [1, 1, 2, 3, 4, 5, 8, 10, 17] + (tiles ? [16, 32, 136] : []))
        let extents = pair([1, 2, 3, 4, 5, 7, 9, 12] + (kind == .smallGroups ? [17, 22] : []))
        let outputs = isDepthwise ? channels : draw([1, 2, 3, 5, 8, 10, 15, 16, 20, 24, 33, 40])
        hasBias = draw([true, true, false])
        activation = draw([.identity, .tanh])
        use = draw([.once, .once, .twiceAdded, .twiceConcatenated])
        rows = draw([1, 2, 3, 5])
        threads = draw([1, 2, 3, 4, 7])
        let factor = isDepthwise ? 1 : draw(tiles ? [1, 1, 2, 4, 8] : [1, 1, 1, 2, 3])
        channels *= factor
        if kind == .smallGroups {
            let size = draw([4, 8])
            channels = draw([16, 32, 80, 144])
            self.outputs = channels
            groups = channels / size
            (kernel, padding) = (3, 1)
        } else {
            self.outputs = outputs * factor
            groups = isDepthwise ? channels : factor
        }
        if isSequence {
            (kernel.height, padding.height, dilation.height, stride.height) = (1, 0, 1, 1)
            image = [extents.width * 2, channels]
        } else {
            image = [extents.height, extents.width, channels]
        }
        window = WindowGeometry(kernel: kernel, stride: stride, padding: padding, dilation: dilation)
        self.number = number
        let size = isSequence ? (1, image[0]) : (image[0], image[1])
        guard size.0 + 2 * padding.height > dilation.height * (kernel.height - 1),
            size.1 + 2 * padding.width > dilation.width * (kernel.width - 1)
        else { return nil }
    }

    /// A certain one, without bias, groups and activation.
    init(image: Shape, outputs: Int, kernel: Pair, stride: Pair, padding: Pair, rows: Int, threads: Int) {
        (self.image, self.outputs, self.rows, self.threads) = (image, outputs, rows, threads)
        window = WindowGeometry(kernel: kernel, stride: stride, padding: padding)
        (groups, hasBias, activation, use, number) = (1, false, .identity, .once, 0)
    }

    var description: String {
        "\(rows)×\(image) to \(outputs), groups \(groups), kernel \(window.kernel), stride \(window.stride), padding \(window.padding), "
            + "dilation \(window.dilation), \(hasBias ? "bias" : "no bias"), \(activation), \(use), \(threads) threads"
    }

    /// What a step gave: the outputs and every gradient by name, and the parameters it was computed from.
    struct Results {
        var gradients: [String: ReferenceTensor]
        var parameters: [String: ReferenceTensor]
        var outputs: [Float]
        var labels: [Int]

        /// The outputs and every gradient, by name.
        var all: [String: [Float]] { gradients.mapValues(\.floats).merging(["output": outputs]) { $1 } }
    }

    /// A step on every sample, with the loss Σ (output − target)², where the target is one at the sample's label.
    func run(_ method: ConvolutionMethod, precision: Precision = .fp32, threads: Int? = nil) throws -> Results {
        let replica = try TestReplica(
            Probe(geometry: self, method: method), reading: .values([rows]), objective: .meanSquaredError,
            capacity: rows + 1, threads: threads ?? self.threads, precision: precision)
        // One row more before, and numbers in either half of a float: nothing may depend on what memory held.
        replica.step(
            ReferenceTensor.random([rows + 1, rows], seed: 3, in: -9...9), labels: [Int](repeating: 0, count: rows + 1))
        replica.replica.fillArena(Float(bitPattern: 0x3fc0_3fc0))
        var identity = ReferenceTensor([rows, rows])
        for row in 0..<rows { identity[row, row] = 1 }
        let labels = (0..<rows).map { ($0 * 7 + number) % replica.replica.outputCount }
        replica.step(identity, labels: labels)
        let gradients = replica.parameterNames.map { ($0, replica.gradient($0)) }
        return Results(
            gradients: Dictionary(uniqueKeysWithValues: gradients), parameters: replica.parameters,
            outputs: replica.outputs, labels: labels)
    }

    /// Sample n is column n of the table's weight, whose gradient is therefore that of the convolution's input.
    private final class Probe: Module {
        let geometry: RandomConvolution
        let method: ConvolutionMethod
        let table: Linear
        let convolution = Weights()

        final class Weights: Module {
            func callAsFunction(_ x: Value) -> Value { x }
        }

        init(geometry: RandomConvolution, method: ConvolutionMethod) {
            self.geometry = geometry
            self.method = method
            table = Linear(geometry.image.count, bias: false)
        }

        func callAsFunction(_ x: Value) -> Value {
            let image = reshape(table(x), to: geometry.image)
            switch geometry.use {
            case .once: return flatten(convolve(image))
            case .twiceAdded: return flatten(convolve(image) + convolve(image))
            case .twiceConcatenated: return flatten(concatenate([convolve(image), convolve(image)]))
            }
        }

        private func convolve(_ x: Value) -> Value {
            let (kernel, inputs, outputs) = (geometry.window.kernel, geometry.image.dimensions.last!, geometry.outputs)
            let order = StorageOrder.convolution(
                outputs: outputs, inputs: inputs / geometry.groups, height: kernel.height, width: kernel.width)
            let shape: Shape = [outputs, inputs / geometry.groups, kernel.height, kernel.width]
            let y = x.applying(
                Convolution(
                    outputs: outputs, geometry: geometry.window, groups: geometry.groups, hasBias: geometry.hasBias,
                    method: method),
                layer: convolution,
                parameters: [(name: "weight", shape: shape, order: order, initializer: .standardWeight)]
                    + (geometry.hasBias
                        ? [(name: "bias", shape: [outputs], order: .plain, initializer: .uniform(lower: -1, upper: 1))]
                        : []))
            return geometry.activation == .identity ? y : y.applying(ActivationOperation(geometry.activation))
        }
    }
}
