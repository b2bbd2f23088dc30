public import DTrainLayers
public import DTrainTensor

/// What a model may be told when it is built.
public struct ModelOptions: Sendable {
    /// Values that the last layer returns: the classes of the data.
    public var classes: Int
    /// The probability of the model's dropout layers, where it has any; nil for the model's own.
    public var dropout: Float?

    public init(classes: Int, dropout: Float? = nil) {
        self.classes = classes
        self.dropout = dropout
    }
}

/// A model that can be named on the command line.
public struct ModelEntry: Sendable {
    public let name: String
    /// One line for `dtrain models`.
    public let summary: String
    /// The sample that the model is made for: what `models` and `bench` show it.
    public let input: Shape
    /// Classes where no data says otherwise.
    public let classes: Int
    /// What the model minimises.
    public let objective: Objective
    /// Where the model is described.
    public let reference: String
    public let make: @Sendable (ModelOptions) -> any Module

    /// - Parameters:
    ///   - name: lower case, words joined by hyphens.
    ///   - summary: one line.
    ///   - input: height × width × channels of a sample; default a 28×28 grey image.
    ///   - classes: where no data says otherwise; default 10.
    ///   - objective: what the model minimises; default cross-entropy.
    ///   - reference: the paper or lecture.
    ///   - make: builds a new model.
    public init(
        _ name: String, _ summary: String, input: Shape = [28, 28, 1], classes: Int = 10,
        objective: Objective = .crossEntropy(), reference: String = "",
        make: @escaping @Sendable (ModelOptions) -> any Module
    ) {
        self.name = name
        self.summary = summary
        self.input = input
        self.classes = classes
        self.objective = objective
        self.reference = reference
        self.make = make
    }

    /// The models that dtrain comes with.
    public static let all: [ModelEntry] = [
        ModelEntry("mlp", "784-512-256-10 with ReLU") { MLP(classes: $0.classes) },
        ModelEntry("lenet5", "LeNet-5: two convolutions, three linear layers, tanh", reference: "LeCun et al. 1998") {
            LeNet5(classes: $0.classes)
        },
        ModelEntry("cnn-mnist", "two 5×5 convolutions and a linear layer") { CNNMNIST(classes: $0.classes) },
        ModelEntry(
            "inception-mnist", "two convolutions, each before an inception block", reference: "Szegedy et al. 2014"
        ) { InceptionMNIST(classes: $0.classes) },
    ]
}
