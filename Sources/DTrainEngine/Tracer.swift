public import DTrainTensor

/// A tensor that does not exist yet: what layers take and return while a model is traced.
public struct Value {
    let tracer: Tracer
    let index: Int

    /// The shape of one sample: height × width × channels, length × channels, or a plain count.
    public var shape: Shape { tracer.values[index].shape }
    /// What the trace is for.
    public var mode: Mode { tracer.mode }

    /// The image whose flattened pixels these features are, if they are still in the image's own order.
    package var flattenedImage: Shape? { tracer.values[index].flattenedImage }
}

/// Builds a graph while a model's layers are called.
///
/// Calls do not throw, so that a model reads like its paper: the first error is kept, the values after it are
/// placeholders, and `trace` throws it at the end.
final class Tracer {
    let mode: Mode
    private let paths: [ObjectIdentifier: String]
    private(set) var nodes: [Graph.Node] = []
    private(set) var values: [Graph.GraphValue] = []
    private(set) var parameters: [Graph.Parameter] = []
    private var parameterIndices: [String: Int] = [:]
    private(set) var error: GraphError?

    init(mode: Mode, model: any Module) {
        self.mode = mode
        paths = modulePaths(of: model)
    }

    func leaf(_ source: Graph.Source, shape: Shape) -> Value {
        values.append(Graph.GraphValue(shape: shape, source: source))
        return Value(tracer: self, index: values.count - 1)
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
        _ module: any Module, _ name: String, shape: Shape, order: StorageOrder, initializer: Initializer
    ) -> Int {
        let path = path(of: module)
        let fullName = path.isEmpty ? name : path + "." + name
        if let index = parameterIndices[fullName] {
            if parameters[index].shape != shape || parameters[index].order != order {
                fail(
                    path,
                    "called with an input of another size than before: \(name) is \(parameters[index].shape) "
                        + "and would have to be \(shape)")
            }
            return index
        }
        parameters.append(Graph.Parameter(name: fullName, shape: shape, order: order, initializer: initializer))
        parameterIndices[fullName] = parameters.count - 1
        return parameters.count - 1
    }

    func apply(_ operation: any Operation, _ inputs: [Value], parameters: [Int], path: String) -> Value {
        let arranged = inputs.map { operation.flattenedInput == .transposed ? $0.inPyTorchOrder() : $0 }
        let shape: Shape
        do {
            shape = try operation.outputShape(arranged.map(\.shape))
        } catch {
            fail(path.isEmpty ? operation.name : path, "\(error)")
            shape = arranged[0].shape
        }
        var output = Graph.GraphValue(shape: shape, source: .node(nodes.count))
        if operation.flattenedInput == .kept { output.flattenedImage = arranged[0].flattenedImage }
        values.append(output)
        nodes.append(
            Graph.Node(
                operation: operation, inputs: arranged.map(\.index), parameters: parameters, output: values.count - 1,
                path: path))
        return Value(tracer: self, index: values.count - 1)
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
        parameters: [(name: String, shape: Shape, order: StorageOrder, initializer: Initializer)]
    ) -> Value {
        let indices = parameters.map {
            tracer.parameter(layer, $0.name, shape: $0.shape, order: $0.order, initializer: $0.initializer)
        }
        return tracer.apply(operation, [self], parameters: indices, path: tracer.path(of: layer))
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

extension Graph {
    /// Calls `model` on an input of `input` elements a sample and returns what it did as a graph.
    /// Throws `GraphError` for the first layer that does not fit.
    package static func trace(_ model: any Module, input: Shape, mode: Mode, objective: Objective?) throws -> Graph {
        let tracer = Tracer(mode: mode, model: model)
        let output = model(tracer.leaf(.input, shape: input)).inPyTorchOrder()
        var loss: Value?
        var denominator = 1
        switch objective {
        case .crossEntropy(let smoothing):
            let labels = tracer.leaf(.labels, shape: [1])
            loss = output.applying(CrossEntropy(labelSmoothing: smoothing), with: [labels])
        case .meanSquaredError:
            let target = tracer.leaf(.labels, shape: [1]).applying(OneHot(classes: output.shape.count))
            loss = output.flattened().applying(SquaredError(), with: [target])
            denominator = output.shape.count
        case nil: break
        }
        if let error = tracer.error { throw error }
        return Graph(
            mode: mode, nodes: tracer.nodes, values: tracer.values, parameters: tracer.parameters, output: output.index,
            loss: loss?.index, lossDenominatorPerSample: denominator)
    }
}
