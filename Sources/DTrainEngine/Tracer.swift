public import DTrainTensor

/// A tensor that does not exist yet: what layers take and return while a model is traced.
public struct Value {
    let tracer: Tracer
    let index: Int

    /// The shape of one sample: height × width × channels, length × channels, or a plain count. Of a sequence: of one step.
    public var shape: Shape { tracer.values[index].shape }
    /// Whether it has one row for each step of a sample's sequence, not one a sample.
    public var isSequence: Bool { tracer.values[index].rows == .steps }
    /// The steps of the longest sequence that the model reads; 1 where it reads none.
    public var longest: Int { tracer.input.longest }
    /// Of tokens, how many different ones there are; nil for fp32 values.
    public var vocabulary: Int? { tracer.values[index].vocabulary }
    /// What the trace is for.
    public var mode: Mode { tracer.options.mode }
    /// Whether batch statistics are those of all ranks together.
    package var synchronisesBatchNorm: Bool { tracer.options.synchronisesBatchNorm }

    /// The image whose flattened pixels these features are, if they are still in the image's own order.
    package var flattenedImage: Shape? { tracer.values[index].flattenedImage }
}

/// Builds a graph while a model's layers are called.
///
/// Calls do not throw, so that a model reads like its paper: the first error is kept, the values after it are
/// placeholders, and `trace` throws it at the end.
final class Tracer {
    let options: TraceOptions
    let input: ModelInput
    private let paths: [ObjectIdentifier: String]
    private(set) var nodes: [Graph.Node] = []
    private(set) var values: [Graph.GraphValue] = []
    private(set) var parameters: [Graph.Parameter] = []
    private var parameterIndices: [String: Int] = [:]
    /// Outputs beside the model's own that training also judges, and the weight of their loss.
    private(set) var auxiliaries: [(logits: Value, weight: Float)] = []
    private(set) var error: GraphError?

    init(_ options: TraceOptions, input: ModelInput, model: any Module) {
        self.options = options
        self.input = input
        paths = modulePaths(of: model)
    }

    func leaf(_ source: Graph.Source, shape: Shape, rows: Graph.Rows = .samples, vocabulary: Int? = nil) -> Value {
        values.append(Graph.GraphValue(shape: shape, rows: rows, vocabulary: vocabulary, source: source))
        return Value(tracer: self, index: values.count - 1)
    }

    /// What the model reads.
    func inputLeaf() -> Value {
        switch input {
        case .values(let shape): leaf(.input, shape: shape)
        case .steps(let shape, _): leaf(.input, shape: shape, rows: .steps)
        case .tokens(let vocabulary, _): leaf(.input, shape: [1], rows: .steps, vocabulary: vocabulary)
        }
    }

    func fail(_ place: String, _ reason: String) {
        if error == nil { error = GraphError(place: place, reason: reason) }
    }

    /// The path of a layer; a layer that no property leads to has none.
    func path(of module: any Module) -> String {
        if let path = paths[ObjectIdentifier(module)] { return path }
        fail(
            "\(type(of: module))",
            "this layer is not a property of the model, so its parameters have no name; "
                + "create it in the model's initialiser and keep it in a stored property")
        return "?"
    }

    /// The parameter `name` of a layer; the second request for it returns the first one.
    func parameter(
        _ module: any Module, _ name: String, shape: Shape, order: StorageOrder, initializer: Initializer,
        isBuffer: Bool = false, dtype: DType = .float32
    ) -> Int {
        let path = path(of: module)
        let fullName = fullName(module, name)
        if let index = parameterIndices[fullName] {
            if parameters[index].shape != shape || parameters[index].order != order {
                fail(
                    path,
                    "called with an input of another size than before: \(name) is \(parameters[index].shape) "
                        + "and would have to be \(shape)")
            }
            return index
        }
        let role: ParameterSegment.Role =
            isBuffer ? .buffer : options.isFrozen(fullName) ? .frozen : .trainable
        parameters.append(
            Graph.Parameter(
                name: fullName, shape: shape, order: order, initializer: initializer, role: role, dtype: dtype))
        parameterIndices[fullName] = parameters.count - 1
        return parameters.count - 1
    }

    func fullName(_ module: any Module, _ name: String) -> String {
        let path = path(of: module)
        return path.isEmpty ? name : path + "." + name
    }

    func addAuxiliary(_ logits: Value, weight: Float) { auxiliaries.append((logits, weight)) }

    /// The rows of the operation's output.
    private func rows(_ operation: any Operation, _ inputs: [Value]) throws -> Graph.Rows {
        if !operation.readsTokens, inputs.contains(where: { $0.vocabulary != nil }) {
            throw ShapeMismatch("it reads numbers, and the input is tokens: use an embedding or oneHot first")
        }
        let areSequences = inputs.map(\.isSequence)
        switch operation.sequences {
        case .refused:
            if areSequences.contains(true) {
                throw ShapeMismatch("it reads samples, and the input is a sequence")
            }
            return .samples
        case .rowwise:
            guard Set(areSequences).count == 1 else {
                throw ShapeMismatch("its inputs are a sequence and something that has one row a sample")
            }
            return areSequences[0] ? .steps : .samples
        case .recurrent:
            guard !areSequences.dropFirst().contains(true) else {
                throw ShapeMismatch("an initial state has one row a sample, and the given one is a sequence")
            }
            return areSequences[0] ? .steps : .samples
        case .collapsed:
            guard areSequences == [true] else { throw ShapeMismatch("it reads a sequence, and the input is none") }
            return .samples
        case .stacked:
            guard !areSequences.contains(true) else { throw ShapeMismatch("it stacks samples, not sequences") }
            return .steps
        }
    }

    func apply(_ operation: any Operation, _ inputs: [Value], parameters: [Int], path: String) -> Value {
        applyWithStates(operation, inputs, parameters: parameters, path: path).output
    }

    func applyWithStates(
        _ operation: any Operation, _ inputs: [Value], parameters: [Int], path: String
    ) -> (output: Value, states: [Value]) {
        let arranged = inputs.map { operation.flattenedInput == .transposed ? $0.inPyTorchOrder() : $0 }
        let shapes = arranged.map(\.shape)
        var output = Graph.GraphValue(shape: shapes[0], rows: values[inputs[0].index].rows, source: .node(nodes.count))
        do {
            output = Graph.GraphValue(
                shape: try operation.outputShape(shapes), rows: try rows(operation, arranged),
                source: .node(nodes.count))
        } catch {
            fail(path.isEmpty ? operation.name : path, "\(error)")
        }
        if operation.flattenedInput == .kept { output.flattenedImage = arranged[0].flattenedImage }
        values.append(output)
        let index = values.count - 1
        values += operation.stateShapes(shapes).map { Graph.GraphValue(shape: $0, source: .node(nodes.count)) }
        let stateIndices = Array(index + 1..<values.count)
        nodes.append(
            Graph.Node(
                operation: operation, inputs: arranged.map(\.index), parameters: parameters, output: index,
                states: stateIndices, path: path))
        return (Value(tracer: self, index: index), stateIndices.map { Value(tracer: self, index: $0) })
    }

    func markFlattened(_ value: Value, image: Shape) { values[value.index].flattenedImage = image }
}

extension Value {
    /// Appends an operation without parameters.
    package func applying(_ operation: any Operation, with others: [Value] = [], layer: (any Module)? = nil) -> Value {
        tracer.apply(operation, [self] + others, parameters: [], path: layer.map(tracer.path(of:)) ?? "")
    }

    /// Appends an operation with the parameters of `layer`.
    package func applying(
        _ operation: any Operation, layer: any Module,
        parameters: [(name: String, shape: Shape, order: StorageOrder, initializer: Initializer)],
        buffers: [(name: String, shape: Shape, dtype: DType, value: Float)] = []
    ) -> Value {
        let indices =
            indices(of: parameters, layer)
            + buffers.map {
                tracer.parameter(
                    layer, $0.name, shape: $0.shape, order: .plain, initializer: .constant($0.value), isBuffer: true,
                    dtype: $0.dtype)
            }
        return tracer.apply(operation, [self], parameters: indices, path: tracer.path(of: layer))
    }

    /// Appends a recurrent operation with the parameters of `layer`; `others` are initial states. Returns final states too.
    package func applyingRecurrent(
        _ operation: any Operation, with others: [Value], layer: any Module,
        parameters: [(name: String, shape: Shape, order: StorageOrder, initializer: Initializer)]
    ) -> (output: Value, states: [Value]) {
        tracer.applyWithStates(
            operation, [self] + others, parameters: indices(of: parameters, layer), path: tracer.path(of: layer))
    }

    private func indices(
        of parameters: [(name: String, shape: Shape, order: StorageOrder, initializer: Initializer)],
        _ layer: any Module
    ) -> [Int] {
        parameters.map {
            tracer.parameter(layer, $0.name, shape: $0.shape, order: $0.order, initializer: $0.initializer)
        }
    }

    /// Whether training leaves all of these parameters of `layer` alone; false for none.
    package func areFrozen(_ names: [String], of layer: any Module) -> Bool {
        !names.isEmpty && names.allSatisfy { tracer.options.isFrozen(tracer.fullName(layer, $0)) }
    }

    /// Adds `weight` times the loss of these logits to what training minimises; nothing happens in evaluation.
    package func judgedAsAuxiliary(weight: Float) {
        if mode == .training { tracer.addAuxiliary(self, weight: weight) }
    }

    /// Records an error of a layer's own checks (a wrong rank, say); the trace goes on and throws it at its end.
    package func fail(_ layer: (any Module)?, _ reason: String) {
        tracer.fail(layer.map(tracer.path(of:)) ?? "", reason)
    }

    /// All elements of a sample in one row. An image keeps its memory order: the linear layer that reads it carries the
    /// permutation, and whatever else reads it gets PyTorch's order through an explicit transpose.
    package func flattened() -> Value {
        guard shape.rank > 1 else { return self }
        let image = shape.rank == 3 ? shape : Shape([1] + shape.dimensions)
        let value = applying(Reshape(to: [shape.count]))
        if shape.rank <= 3, image[0] * image[1] > 1, image[2] > 1 { tracer.markFlattened(value, image: image) }
        return value
    }

    /// The same elements, in PyTorch's order, as a sample of another shape.
    package func reshaped(to shape: Shape) -> Value {
        let features = flattened().inPyTorchOrder()
        guard shape.count == self.shape.count else {
            fail(nil, "cannot reshape \(self.shape) (\(self.shape.count) elements) to \(shape) (\(shape.count))")
            return self
        }
        guard let channels = shape.dimensions.last, shape.rank > 1 else { return features }
        return tracer.apply(
            Transpose(rows: channels, columns: shape.count / channels, to: shape), [features], parameters: [], path: "")
    }

    /// The same features in PyTorch's order (channel × height × width), transposed where necessary.
    func inPyTorchOrder() -> Value {
        guard let image = flattenedImage else { return self }
        return tracer.apply(
            Transpose(rows: image[0] * image[1], columns: image[2], to: shape), [self], parameters: [], path: "")
    }
}

/// What the loss is made of: how an output and the labels become one number a sample.
public enum Objective: Hashable, Sendable {
    /// Softmax cross-entropy against the label, with PyTorch's label smoothing; averaged over samples.
    case crossEntropy(labelSmoothing: Float = 0)
    /// Squared difference from the label's one-hot vector, averaged over elements.
    case meanSquaredError
}

/// What a graph is traced for.
package struct TraceOptions: Sendable {
    package var mode: Mode
    /// What the loss is made of; nil for no loss.
    package var objective: Objective?
    /// Whether training leaves the parameter of this name alone.
    package var isFrozen: @Sendable (String) -> Bool
    package var synchronisesBatchNorm: Bool

    package init(
        _ mode: Mode, objective: Objective? = nil, isFrozen: @escaping @Sendable (String) -> Bool = { _ in false },
        synchronisesBatchNorm: Bool = false
    ) {
        self.mode = mode
        self.objective = objective
        self.isFrozen = isFrozen
        self.synchronisesBatchNorm = synchronisesBatchNorm
    }
}

extension Graph {
    /// As below, with nothing frozen and statistics of each rank's own.
    package static func trace(_ model: any Module, input: Shape, mode: Mode, objective: Objective?) throws -> Graph {
        try trace(model, input: .values(input), TraceOptions(mode, objective: objective))
    }

    /// As below, for a model that reads samples of this shape.
    package static func trace(_ model: any Module, input: Shape, _ options: TraceOptions) throws -> Graph {
        try trace(model, input: .values(input), options)
    }

    /// Calls `model` on an input of this kind and returns what it did as a graph.
    /// Throws `GraphError` for the first layer that does not fit.
    package static func trace(_ model: any Module, input: ModelInput, _ options: TraceOptions) throws -> Graph {
        let tracer = Tracer(options, input: input, model: model)
        let output = model(tracer.inputLeaf()).inPyTorchOrder()
        var loss: Value?
        var denominator = 1
        if let objective = options.objective {
            let labels = tracer.leaf(.labels, shape: [1], rows: output.isSequence ? .steps : .samples)
            loss = output.judged(by: objective, labels, weight: 1)
            if case .meanSquaredError = objective { denominator = output.shape.count }
            for (logits, _) in tracer.auxiliaries where logits.shape.count != output.shape.count {
                tracer.fail(
                    "auxiliaryLoss", "\(logits.shape) logits beside an output of \(output.shape): they share the labels"
                )
            }
            let losses = tracer.auxiliaries.map {
                $0.logits.inPyTorchOrder().judged(by: objective, labels, weight: $0.weight)
            }
            if !losses.isEmpty { loss = loss!.applying(LossTotal(), with: losses) }
        }
        if let error = tracer.error { throw error }
        return Graph(
            mode: options.mode, input: input, nodes: tracer.nodes, values: tracer.values, parameters: tracer.parameters,
            output: output.index, loss: loss?.index, lossDenominatorPerSample: denominator)
    }
}

extension Value {
    /// The loss of these outputs for each row, times `weight`.
    fileprivate func judged(by objective: Objective, _ labels: Value, weight: Float) -> Value {
        switch objective {
        case .crossEntropy(let smoothing):
            applying(CrossEntropy(labelSmoothing: smoothing, weight: weight), with: [labels])
        case .meanSquaredError:
            flattened()
                .applying(SquaredError(weight: weight), with: [labels.applying(OneHot(classes: shape.count))])
        }
    }
}
