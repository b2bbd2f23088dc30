public import DTrainLayers
public import DTrainTensor

/// What a model may be told when it is built.
public struct ModelOptions: Sendable {
    /// Values that the last layer returns: the classes of the data.
    public var classes: Int
    /// The probability of the model's dropout layers, where it has any; nil for the model's own.
    public var dropout: Float?
    /// False leaves the head out (`--no-top`), and the model returns features: what its last linear layer reads, flattened,
    /// and of `alexnet` and `vgg…`, whose classifier has three of them, what the first one reads. Auxiliary classifiers go
    /// with the head.
    public var top = true
    /// Whether training has the auxiliary classifiers, where the model has any (`--no-aux` turns them off).
    public var auxiliary = true
    /// The residual block of `resnet-mnist`; nil for the original one.
    public var block: ResidualUnit?
    /// Whether `googlenet` takes samples normalised for torchvision's other models and gives them the mean and deviation 0.5
    /// that its pretrained weights expect.
    public var transformsInput = false

    public init(classes: Int, dropout: Float? = nil) {
        self.classes = classes
        self.dropout = dropout
    }

    /// Outputs of the head; nil for none.
    package var head: Int? { top ? classes : nil }
}

/// Which data a model is made for: decides how images are prepared.
public enum ModelFamily: String, Sendable {
    /// Colour images of some 224×224 pixels.
    case imagenet
    /// Colour images of 32×32 pixels.
    case cifar
    /// Grey images of 28×28 pixels.
    case mnist
    /// Sequences of characters.
    case text
}

/// A model that can be named on the command line.
public struct ModelEntry: Sendable {
    public let name: String
    /// One line for `dtrain models`.
    public let summary: String
    /// The sample that the model is made for: what `models` and `bench` show it.
    public let input: ModelInput
    /// Which data the model is made for.
    public let family: ModelFamily
    /// Classes where no data says otherwise.
    public let classes: Int
    /// What the names of the parameters begin with whose shape follows the number of classes: they start anew where weights
    /// come from a model with other classes.
    public let headPrefixes: [String]
    /// What the names of the parameters begin with that a model without its head does not have.
    public let topPrefixes: [String]
    /// What the model minimises.
    public let objective: Objective
    /// Where the model is described.
    public let reference: String
    public let make: @Sendable (ModelOptions) -> any Module

    /// - Parameters:
    ///   - name: lower case, words joined by hyphens.
    ///   - summary: one line.
    ///   - input: what it reads for a sample.
    ///   - family: which data the model is made for.
    ///   - classes: where no data says otherwise; default 10.
    ///   - headPrefixes: of the parameters that the number of classes shapes; default `fc.`.
    ///   - topPrefixes: of the parameters that go with the head; default `headPrefixes`.
    ///   - objective: what the model minimises; default cross-entropy.
    ///   - reference: the paper or lecture.
    ///   - make: builds a new model.
    public init(
        _ name: String, _ summary: String, reading input: ModelInput, family: ModelFamily, classes: Int = 10,
        headPrefixes: [String] = ["fc."], topPrefixes: [String]? = nil, objective: Objective = .crossEntropy(),
        reference: String = "", make: @escaping @Sendable (ModelOptions) -> any Module
    ) {
        self.name = name
        self.summary = summary
        self.input = input
        self.family = family
        self.classes = classes
        self.headPrefixes = headPrefixes
        self.topPrefixes = topPrefixes ?? headPrefixes
        self.objective = objective
        self.reference = reference
        self.make = make
    }

    /// The same for a model of images: height × width × channels, by default a 28×28 grey one.
    public init(
        _ name: String, _ summary: String, input: Shape = [28, 28, 1], family: ModelFamily = .mnist, classes: Int = 10,
        headPrefixes: [String] = ["fc."], topPrefixes: [String]? = nil, objective: Objective = .crossEntropy(),
        reference: String = "", make: @escaping @Sendable (ModelOptions) -> any Module
    ) {
        self.init(
            name, summary, reading: .values(input), family: family, classes: classes, headPrefixes: headPrefixes,
            topPrefixes: topPrefixes, objective: objective, reference: reference, make: make)
    }
}
