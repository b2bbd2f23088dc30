import DTrainEngine
import DTrainTensor
import Testing

/// Runs a traced graph in double precision, node by node with the oracles: the judge of whatever a plan makes of the
/// graph (fusion, memory reuse, threads).
///
/// It takes the settings of the operations from the graph, so it proves the plan and the kernels, not the layers.
/// Dropout is left out: its masks belong to the engine.
struct GraphOracle {
    let graph: Graph
    /// By name, in PyTorch's shapes and order; buffers too, where running statistics are used.
    var parameters: [String: ReferenceTensor]
    var mixing: (partners: [Int], weights: [Double])?

    struct Result {
        var output: ReferenceTensor
        /// The sum over the samples.
        var loss: Double
        /// Of the sum, by name, in PyTorch's order.
        var gradients: [String: ReferenceTensor]
    }

    /// The output, the loss and the gradients for images [N, …] and labels.
    func run(_ input: ReferenceTensor, labels: [Int]) throws -> Result {
        let rows = input.shape[0]
        var values = [ReferenceTensor?](repeating: nil, count: graph.values.count)
        for (index, value) in graph.values.enumerated() {
            switch value.source {
            case .input: values[index] = input
            case .labels: values[index] = ReferenceTensor([rows, 1], labels.map(Double.init))
            case .node: break
            }
        }
        for node in graph.nodes {
            let y = try forward(node, node.inputs.map { values[$0]! }, labels)
            #expect(y.shape == [rows] + graph.values[node.output].shape.dimensions, "\(node.operation) of \(node.path)")
            values[node.output] = y
        }
        let output = values[graph.output]!
        guard let loss = graph.loss else { return Result(output: output, loss: 0, gradients: [:]) }

        var gradients = graph.values.map { ReferenceTensor([rows] + $0.shape.dimensions) }
        gradients[loss] = ReferenceTensor([rows, 1], filledWith: 1)
        if case .node(let index) = graph.values[loss].source, graph.nodes[index].operation is LossTotal {
            for input in graph.nodes[index].inputs { gradients[input] = gradients[loss] }
        }
        var parameterGradients: [String: ReferenceTensor] = [:]
        for node in graph.nodes.reversed() {
            let inputs = node.inputs.map { values[$0]! }
            let (dx, dParameters) = try backward(node, inputs, values[node.output]!, gradients[node.output], labels)
            for (index, gradient) in zip(node.inputs, dx) { gradients[index] = gradients[index] + gradient }
            for (index, gradient) in zip(node.parameters, dParameters) where graph.parameters[index].role == .trainable
            {
                let name = graph.parameters[index].name
                parameterGradients[name] = parameterGradients[name].map { $0 + gradient } ?? gradient
            }
        }
        return Result(output: output, loss: values[loss]!.values.reduce(0, +), gradients: parameterGradients)
    }

    private func forward(_ node: Graph.Node, _ inputs: [ReferenceTensor], _ labels: [Int]) throws -> ReferenceTensor {
        let x = inputs[0]
        let shape = graph.values[node.output].shape.dimensions
        switch node.operation {
        case let linear as Linear:
            let rows = x.reshaped([x.values.count / x.shape.last!, x.shape.last!])
            let y = LinearOracle.forward(rows, weight: linearWeight(node), bias: bias(node))
            return y.reshaped(x.shape.dropLast() + [linear.outputs])
        case let convolution as Convolution:
            let y = oracle(convolution).forward(asImage(x), weight: kernel(node), bias: bias(node))
            return y.reshaped([x.shape[0]] + shape)
        case let pooling as Pooling:
            let y = pooling.kind == .maximum ? oracle(pooling).maximum(asImage(x)) : oracle(pooling).average(asImage(x))
            return y.reshaped([x.shape[0]] + shape)
        case let pooling as AdaptivePooling:
            let oracle = oracle(pooling, x)
            let y = pooling.kind == .maximum ? oracle.maximum(asImage(x)) : oracle.average(asImage(x))
            return y.reshaped([x.shape[0]] + shape)
        case let norm as LocalResponseNorm: return oracle(norm).forward(x)
        case let norm as Normalization:
            return oracle(norm).forward(
                x, weight: norm.isAffine ? inArenaOrder(node, 0) : nil,
                bias: norm.isAffine ? inArenaOrder(node, 1) : nil)
        case let convolution as TransposedConvolution:
            return oracle(convolution).forward(x, weight: parameter(node, 0), bias: bias(node))
        case is Softmax: return SoftmaxOracle.forward(x)
        case let shortcut as ZeroPaddingShortcut: return oracle(shortcut).forward(x)
        case let activation as ActivationOperation: return oracle(activation.activation).forward(x)
        case is Addition: return x + inputs[1]
        case is Multiplication: return x * inputs[1]
        case let line as ScaleShift: return x.map { Double(line.scale) * $0 + Double(line.shift) }
        case is Concatenation: return ShapeOracle.concatenate(inputs)
        case is Reshape: return x.reshaped([x.shape[0]] + shape)
        case let transpose as Transpose: return transposed(x, transpose).reshaped([x.shape[0]] + shape)
        case is OneHot:
            var y = ReferenceTensor([x.shape[0]] + shape)
            for (row, label) in labels.enumerated() {
                y[row, label] += mixing?.weights[row] ?? 1
                if let mixing { y[row, mixing.partners[row]] += 1 - mixing.weights[row] }
            }
            return y
        case let loss as CrossEntropy:
            return perRow(x) { row, x in
                let weights = mixing.map { ([$0.partners[row]], [$0.weights[row]]) }
                let oracle = CrossEntropyOracle(smoothing: Double(loss.labelSmoothing), mixing: weights)
                return Double(loss.weight) * oracle.forward(x, labels: [labels[row]])
            }
        case let loss as SquaredError:
            return perRow(x) { Double(loss.weight) * SquaredErrorOracle.forward($1, target: row($0, of: inputs[1])) }
        case is LossTotal: return inputs.dropFirst().reduce(x, +)
        case let batchNorm as BatchNorm:
            let (oracle, statistics, weight, bias) = batchNormParts(batchNorm, node, x)
            return oracle.forward(x, statistics, weight: weight, bias: bias)
        default: throw UnknownOperation(name: node.operation.name)
        }
    }

    private func backward(
        _ node: Graph.Node, _ inputs: [ReferenceTensor], _ y: ReferenceTensor, _ dy: ReferenceTensor, _ labels: [Int]
    ) throws -> (inputs: [ReferenceTensor], parameters: [ReferenceTensor]) {
        let x = inputs[0]
        switch node.operation {
        case is Linear:
            let rows = x.reshaped([x.values.count / x.shape.last!, x.shape.last!])
            let dRows = dy.reshaped([rows.shape[0], dy.shape.last!])
            let result = LinearOracle.gradients(rows, weight: linearWeight(node), outputGradient: dRows)
            let dWeight = inTorchOrder(result.weight, graph.parameters[node.parameters[0]])
            return ([result.x.reshaped(x.shape)], [dWeight, result.bias])
        case let convolution as Convolution:
            let result = oracle(convolution).gradients(asImage(x), weight: kernel(node), outputGradient: asImage(dy))
            let shape = graph.parameters[node.parameters[0]].shape.dimensions
            return ([result.x.reshaped(x.shape)], [result.weight.reshaped(shape), result.bias])
        case let pooling as Pooling:
            let oracle = oracle(pooling)
            let dx =
                pooling.kind == .maximum
                ? oracle.maximumGradient(asImage(x), outputGradient: asImage(dy))
                : oracle.averageGradient(asImage(x), outputGradient: asImage(dy))
            return ([dx.reshaped(x.shape)], [])
        case let pooling as AdaptivePooling:
            let oracle = oracle(pooling, x)
            let dx =
                pooling.kind == .maximum
                ? oracle.maximumGradient(asImage(x), outputGradient: asImage(dy))
                : oracle.averageGradient(asImage(x), outputGradient: asImage(dy))
            return ([dx.reshaped(x.shape)], [])
        case let norm as Normalization:
            let weight = norm.isAffine ? inArenaOrder(node, 0) : nil
            let result = oracle(norm).gradients(x, weight: weight, outputGradient: dy)
            let dParameters = zip([result.weight, result.bias], node.parameters).map { gradient, index in
                inTorchOrder(gradient, graph.parameters[index]).reshaped(graph.parameters[index].shape.dimensions)
            }
            return ([result.x], dParameters)
        case let convolution as TransposedConvolution:
            let result = oracle(convolution).gradients(x, weight: parameter(node, 0), outputGradient: dy)
            return ([result.x], [result.weight, result.bias])
        case is Softmax: return ([SoftmaxOracle.gradient(x, outputGradient: dy)], [])
        case let norm as LocalResponseNorm: return ([oracle(norm).gradient(x, outputGradient: dy)], [])
        case let shortcut as ZeroPaddingShortcut: return ([oracle(shortcut).gradient(x, outputGradient: dy)], [])
        case let activation as ActivationOperation:
            return ([oracle(activation.activation).gradient(x, outputGradient: dy)], [])
        case is Addition: return ([dy, dy], [])
        case is Multiplication: return ([dy * inputs[1], dy * x], [])
        case let line as ScaleShift: return ([dy.map { Double(line.scale) * $0 }], [])
        case is Concatenation:
            return (ShapeOracle.concatenationGradients(inputs.map { $0.shape.last! }, outputGradient: dy), [])
        case is Reshape: return ([dy.reshaped(x.shape)], [])
        case let transpose as Transpose:
            let back = Transpose(rows: transpose.columns, columns: transpose.rows, to: transpose.shape)
            return ([transposed(dy, back).reshaped(x.shape)], [])
        case is OneHot: return ([], [])
        case let loss as CrossEntropy:
            let oracle = CrossEntropyOracle(smoothing: Double(loss.labelSmoothing), mixing: mixing)
            return ([oracle.gradient(x, labels: labels).map { $0 * Double(loss.weight) }], [])
        case let loss as SquaredError:
            return ([SquaredErrorOracle.gradient(x, target: inputs[1]).map { $0 * Double(loss.weight) }], [])
        case is LossTotal: return ([], [])
        case let batchNorm as BatchNorm:
            let (oracle, statistics, weight, _) = batchNormParts(batchNorm, node, x)
            let result = oracle.gradients(
                x, statistics, isConstant: batchNorm.usesRunningStatistics, weight: weight, outputGradient: dy)
            return ([result.x], batchNorm.isAffine ? [result.weight, result.bias] : [])
        default: throw UnknownOperation(name: node.operation.name)
        }
    }

    struct UnknownOperation: Error { let name: String }

    // MARK: Parameters

    private func parameter(_ node: Graph.Node, _ number: Int) -> ReferenceTensor {
        parameters[graph.parameters[node.parameters[number]].name]!
    }

    private func bias(_ node: Graph.Node) -> ReferenceTensor? {
        node.parameters.count > 1 ? parameter(node, 1) : nil
    }

    /// A convolution's weight with two kernel dimensions.
    private func kernel(_ node: Graph.Node) -> ReferenceTensor {
        let weight = parameter(node, 0)
        return weight.shape.count == 4
            ? weight : weight.reshaped([weight.shape[0], weight.shape[1], 1, weight.shape[2]])
    }

    /// A linear layer's weight, its columns in the order of the features that it reads.
    private func linearWeight(_ node: Graph.Node) -> ReferenceTensor { inArenaOrder(node, 0) }

    /// A parameter's elements in the order of the arena.
    private func inArenaOrder(_ node: Graph.Node, _ number: Int) -> ReferenceTensor {
        let weight = parameter(node, number)
        let torchIndices = torchIndices(graph.parameters[node.parameters[number]])
        return ReferenceTensor(weight.shape, torchIndices.map { weight.values[$0] })
    }

    private func inTorchOrder(_ arena: ReferenceTensor, _ parameter: Graph.Parameter) -> ReferenceTensor {
        var torch = arena
        for (arenaIndex, torchIndex) in torchIndices(parameter).enumerated() {
            torch.values[torchIndex] = arena.values[arenaIndex]
        }
        return torch
    }

    /// For each element of the arena, its index in PyTorch's order.
    private func torchIndices(_ parameter: Graph.Parameter) -> [Int] {
        let torch = NamedTensor(name: "", shape: parameter.shape, floats: (0..<parameter.shape.count).map(Float.init))
        let arena = NamedTensor(name: "", dtype: .float32, shape: parameter.shape)
        parameter.order.import(torch.floats, into: arena.floats)
        return arena.floats.array().map { Int($0) }
    }

    private func batchNormParts(_ operation: BatchNorm, _ node: Graph.Node, _ x: ReferenceTensor) -> (
        BatchNormOracle, BatchNormOracle.Statistics, weight: ReferenceTensor?, bias: ReferenceTensor?
    ) {
        let oracle = BatchNormOracle(epsilon: Double(operation.epsilon))
        let first = operation.isAffine ? 2 : 0
        let statistics =
            operation.usesRunningStatistics
            ? BatchNormOracle.Statistics(
                mean: parameter(node, first).values, variance: parameter(node, first + 1).values, count: 0)
            : oracle.statistics(x)
        return (
            oracle, statistics, operation.isAffine ? parameter(node, 0) : nil,
            operation.isAffine ? parameter(node, 1) : nil
        )
    }

    // MARK: Settings and shapes

    private func oracle(_ activation: Activation) -> ElementwiseOracle {
        switch activation {
        case .identity: ElementwiseOracle(function: { $0 }, derivative: { _ in 1 })
        case .relu: .relu
        case .tanh: .tanh
        case .sigmoid: .sigmoid
        case .leakyReLU(let slope): .leakyReLU(slope: Double(slope))
        }
    }

    private func oracle(_ convolution: Convolution) -> ConvolutionOracle {
        let geometry = convolution.geometry
        return ConvolutionOracle(
            stride: (geometry.stride.height, geometry.stride.width),
            padding: (geometry.padding.height, geometry.padding.width),
            dilation: (geometry.dilation.height, geometry.dilation.width), groups: convolution.groups)
    }

    private func oracle(_ pooling: Pooling) -> PoolingOracle {
        let geometry = pooling.geometry
        return PoolingOracle(
            kernel: (geometry.kernel.height, geometry.kernel.width),
            stride: (geometry.stride.height, geometry.stride.width),
            padding: (geometry.padding.height, geometry.padding.width), ceilMode: pooling.ceilMode,
            countsPadding: pooling.countsPadding)
    }

    private func oracle(_ pooling: AdaptivePooling, _ x: ReferenceTensor) -> AdaptivePoolingOracle {
        AdaptivePoolingOracle(size: (x.shape.count == 4 ? pooling.size.height : 1, pooling.size.width))
    }

    private func oracle(_ norm: LocalResponseNorm) -> LocalResponseNormOracle {
        LocalResponseNormOracle(
            size: norm.size, alpha: Double(norm.alpha), beta: Double(norm.beta), k: Double(norm.k))
    }

    private func oracle(_ norm: Normalization) -> NormalizationOracle {
        let extent: NormalizationOracle.Extent =
            switch norm.extent {
            case .channels: .channels
            case .groups(let groups): .groups(groups)
            case .sample: .sample
            }
        return NormalizationOracle(extent: extent, epsilon: Double(norm.epsilon))
    }

    private func oracle(_ convolution: TransposedConvolution) -> TransposedConvolutionOracle {
        let (geometry, more) = (convolution.geometry, convolution.outputPadding)
        return TransposedConvolutionOracle(
            stride: (geometry.stride.height, geometry.stride.width),
            padding: (geometry.padding.height, geometry.padding.width), outputPadding: (more.height, more.width),
            dilation: (geometry.dilation.height, geometry.dilation.width), groups: convolution.groups)
    }

    private func oracle(_ shortcut: ZeroPaddingShortcut) -> ZeroPaddingShortcutOracle {
        ZeroPaddingShortcutOracle(channels: shortcut.channels, stride: shortcut.stride.width)
    }

    /// A sequence [N, T, C] as an image of height 1.
    private func asImage(_ x: ReferenceTensor) -> ReferenceTensor {
        x.shape.count == 4 ? x : x.reshaped([x.shape[0], 1] + x.shape[1...])
    }

    private func transposed(_ x: ReferenceTensor, _ operation: Transpose) -> ReferenceTensor {
        let count = operation.rows * operation.columns
        var y = x
        for index in x.values.indices {
            let (sample, element) = (index / count, index % count)
            let (r, c) = (element / operation.columns, element % operation.columns)
            y.values[sample * count + c * operation.rows + r] = x.values[index]
        }
        return y
    }

    private func row(_ index: Int, of x: ReferenceTensor) -> ReferenceTensor {
        let count = x.values.count / x.shape[0]
        return ReferenceTensor([1] + x.shape[1...], Array(x.values[index * count..<(index + 1) * count]))
    }

    private func perRow(_ x: ReferenceTensor, _ loss: (Int, ReferenceTensor) -> Double) -> ReferenceTensor {
        ReferenceTensor([x.shape[0], 1], (0..<x.shape[0]).map { loss($0, row($0, of: x)) })
    }
}
