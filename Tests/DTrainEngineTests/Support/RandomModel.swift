import DTrainLayers
import DTrainTensor

/// A random network over images of one size: convolutions (some used twice), activations, pooling, sums and
/// concatenations over whatever came before, so that values have several readers, memory is shared in every way, and
/// every fusion occurs. The same seed gives the same network.
final class RandomModel: Module {
    private enum Step {
        case convolution(layer: Int, input: Int)
        case linear(layer: Int, input: Int)
        case batchNorm(layer: Int, input: Int)
        case activation(String, input: Int)
        case pooling(maximum: Bool, kernel: Int, input: Int)
        case sum(Int, Int)
        case concatenation([Int])
        /// Any function that leaves height and width as they are.
        case function(Function, inputs: [Int])
        /// A layer of another kind, likewise.
        case layer(Int, input: Int)
    }

    private enum Function {
        case product, scaleShift, gate, localResponseNorm, softmax
        case zeroPadding(channels: Int)
        case pooledAndSpread(maximum: Bool)
    }

    let convolutions: [Conv2d]
    let linears: [Linear]
    let batchNorms: [BatchNorm2d]
    let others: [any Module]
    let head: Linear
    private let steps: [Step]
    private let joined: [Int]

    /// `smooth` leaves out what has kinks.
    init(seed: Int, steps count: Int, channels first: Int, smooth: Bool, normalised: Bool = false) {
        let random = CounterRandom(seed: UInt64(seed), purpose: .synthetic, stream: 78)
        var drawn: UInt64 = 0
        func draw(_ bound: Int) -> Int {
            drawn += 1
            return random.below(bound, drawn)
        }
        var channels = [first]
        var isRead = [false]
        var convolutions: [(layer: Conv2d, inputs: Int, outputs: Int)] = []
        var linears: [Linear] = []
        var batchNorms: [BatchNorm2d] = []
        var others: [any Module] = []
        var steps: [Step] = []
        func append(_ step: Step, reading inputs: [Int], channels count: Int) {
            for input in inputs { isRead[input] = true }
            steps.append(step)
            channels.append(count)
            isRead.append(false)
        }
        while steps.count < count {
            let input = draw(3) == 0 ? draw(channels.count) : channels.count - 1
            switch draw(16) {
            case 0, 1, 2:
                if let shared = convolutions.firstIndex(where: { $0.inputs == channels[input] }), draw(3) == 0 {
                    append(
                        .convolution(layer: shared, input: input), reading: [input],
                        channels: convolutions[shared].outputs)
                    break
                }
                var groups = channels[input] % 2 == 0 && draw(4) == 0 ? 2 : 1
                var outputs = (1 + draw(4)) * groups
                if draw(5) == 0 { (groups, outputs) = (channels[input], channels[input]) }
                let radius = draw(3)
                let layer = Conv2d(
                    outputs, kernel: Pair(2 * radius + 1, 2 * radius + 1), padding: Pair(radius, radius),
                    groups: groups,
                    bias: draw(3) > 0)
                convolutions.append((layer, channels[input], outputs))
                append(.convolution(layer: convolutions.count - 1, input: input), reading: [input], channels: outputs)
            case 3:
                let outputs = 1 + draw(5)
                linears.append(Linear(outputs))
                append(.linear(layer: linears.count - 1, input: input), reading: [input], channels: outputs)
            case 4 where normalised, 6 where normalised:
                batchNorms.append(BatchNorm2d(epsilon: 0.1, momentum: 0.3, affine: draw(4) > 0))
                append(
                    .batchNorm(layer: batchNorms.count - 1, input: input), reading: [input], channels: channels[input])
                guard draw(3) == 0, !smooth else { break }
                append(
                    .activation("relu", input: channels.count - 1), reading: [channels.count - 1],
                    channels: channels.last!)
            case 4, 5:
                let name = smooth ? ["tanh", "sigmoid"][draw(2)] : NamedActivation.names[draw(4)]
                append(.activation(name, input: input), reading: [input], channels: channels[input])
            case 6, 7:
                let maximum = draw(2) == 0 && !smooth
                append(
                    .pooling(maximum: maximum, kernel: [1, 3, 5][draw(3)], input: input), reading: [input],
                    channels: channels[input])
            case 8:
                let partners = channels.indices.filter { channels[$0] == channels[input] }
                let other = partners[draw(partners.count)]
                append(.sum(input, other), reading: [input, other], channels: channels[input])
            case 9:
                let partners = channels.indices.filter { channels[$0] == channels[input] }
                let inputs = [input, partners[draw(partners.count)]]
                append(
                    .function([.product, .gate][draw(2)], inputs: inputs), reading: inputs, channels: channels[input])
            case 10:
                append(
                    .function([.scaleShift, .localResponseNorm, .softmax][draw(3)], inputs: [input]), reading: [input],
                    channels: channels[input])
            case 11:
                let function = Function.pooledAndSpread(maximum: draw(2) == 0 && !smooth)
                append(.function(function, inputs: [input]), reading: [input], channels: channels[input])
            case 12:
                let count = channels[input] + 1 + draw(2)
                append(.function(.zeroPadding(channels: count), inputs: [input]), reading: [input], channels: count)
            case 13:
                let norms: [any Module] = [
                    GroupNorm(channels[input], epsilon: 0.1), GroupNorm(1, epsilon: 0.1), LayerNorm(epsilon: 0.1),
                    LayerNorm(over: .sample, epsilon: 0.1),
                ]
                others.append(norms[draw(4)])
                append(.layer(others.count - 1, input: input), reading: [input], channels: channels[input])
            case 14:
                // Twice, so that a second use adds to the gradients of the first.
                let outputs = channels[input]
                others.append(ConvTranspose2d(outputs, kernel: 3, padding: 1, bias: draw(2) == 0))
                append(.layer(others.count - 1, input: input), reading: [input], channels: outputs)
                append(
                    .layer(others.count - 1, input: channels.count - 1), reading: [channels.count - 1],
                    channels: outputs)
            default:
                let parts = (0...draw(3)).map { _ in draw(channels.count) } + [input]
                guard parts.reduce(0, { $0 + channels[$1] }) <= 24 else { break }
                append(.concatenation(parts), reading: parts, channels: parts.reduce(0) { $0 + channels[$1] })
            }
        }
        self.convolutions = convolutions.map(\.layer)
        self.linears = linears
        self.batchNorms = batchNorms
        self.others = others
        self.steps = steps
        joined = channels.indices.filter { !isRead[$0] }
        head = Linear(4)
    }

    func callAsFunction(_ x: Value) -> Value {
        var values = [x]
        for step in steps {
            switch step {
            case .convolution(let layer, let input): values.append(convolutions[layer](values[input]))
            case .linear(let layer, let input): values.append(linears[layer](values[input]))
            case .batchNorm(let layer, let input): values.append(batchNorms[layer](values[input]))
            case .activation(let name, let input): values.append(NamedActivation(name).apply(values[input]))
            case .pooling(let maximum, let kernel, let input):
                let (window, padding) = (Pair(kernel, kernel), Pair(kernel / 2, kernel / 2))
                values.append(
                    maximum
                        ? maxPool(values[input], kernel: window, stride: 1, padding: padding)
                        : averagePool(values[input], kernel: window, stride: 1, padding: padding))
            case .sum(let left, let right): values.append(values[left] + values[right])
            case .concatenation(let parts): values.append(concatenate(parts.map { values[$0] }))
            case .layer(let layer, let input): values.append(others[layer](values[input]))
            case .function(let function, let inputs): values.append(apply(function, inputs.map { values[$0] }))
            }
        }
        return head(flatten(concatenate(joined.map { values[$0] })))
    }

    private func apply(_ function: Function, _ x: [Value]) -> Value {
        switch function {
        // Bounded, so that values do not grow beyond what fp32 can follow.
        case .product: return x[0] * tanh(x[1])
        case .gate: return sigmoid(x[0]) * x[1] + (1 - sigmoid(x[0])) * x[0]
        case .scaleShift: return 0.75 * x[0] + 0.25
        case .localResponseNorm: return localResponseNorm(x[0], size: 3, alpha: 0.9, k: 2)
        case .softmax: return softmax(x[0])
        case .zeroPadding(let channels): return zeroPaddingShortcut(x[0], channels: channels, stride: 1)
        case .pooledAndSpread(let maximum):
            // Down to an uneven size and up again.
            let size = Pair(x[0].shape[0], x[0].shape[1])
            let small = Pair(max(1, size.height * 2 / 3), max(1, size.width * 2 / 3))
            return maximum
                ? adaptiveMaxPool(adaptiveMaxPool(x[0], to: small), to: size)
                : adaptiveAveragePool(adaptiveAveragePool(x[0], to: small), to: size)
        }
    }
}
