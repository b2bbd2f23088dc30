internal import DTrainLayers
internal import DTrainTensor

extension ModelEntry {
    /// The models that dtrain comes with.
    public static let all: [ModelEntry] =
        mnist + cifar + degradation + [alexnet] + vggs + [googlenet] + resnets + densenets + sequences

    private static let mnist: [ModelEntry] = [
        ModelEntry("mlp", "784-512-256-10 with ReLU", headPrefixes: ["fc3."]) { MLP(classes: $0.head) },
        ModelEntry(
            "lenet5", "LeNet-5: two convolutions, three linear layers, tanh", headPrefixes: ["fc3."],
            reference: "LeCun et al. 1998"
        ) { LeNet5(classes: $0.head) },
        ModelEntry("cnn-mnist", "two 5×5 convolutions and a linear layer") { CNNMNIST(classes: $0.head) },
        ModelEntry(
            "inception-mnist", "two convolutions, each before an inception block", reference: "Szegedy et al. 2014"
        ) { InceptionMNIST(classes: $0.head) },
        ModelEntry(
            "resnet-mnist", "two convolutions, each before a residual block (--block)", reference: "He et al. 2016"
        ) { ResNetMNIST($0.block ?? .original, classes: $0.head, dropout: $0.dropout ?? 0.5) },
        ModelEntry("mlp-small", "784-8-8-10 with ReLU", headPrefixes: ["fc3."]) { MLPSmall(classes: $0.head) },
        ModelEntry(
            "cnn-small", "two 5×5 convolutions of 6 channels, linear layers of 50 and 10", headPrefixes: ["fc2."]
        ) { CNNSmall(classes: $0.head) },
    ]

    private static let cifar: [ModelEntry] = [
        ModelEntry(
            "cnn-cifar", "two 5×5 convolutions and three linear layers", input: [32, 32, 3], family: .cifar,
            headPrefixes: ["fc3."], reference: "PyTorch tutorial, Training a Classifier"
        ) { CNNCIFAR(classes: $0.head) },
        ModelEntry(
            "resnet18-cifar", "resnet18 with a 3×3 stem and no first pooling", input: [32, 32, 3], family: .cifar,
            reference: "He et al. 2015"
        ) { ResNet(.basic, stages: [2, 2, 2, 2], smallImages: true, classes: $0.head) },
    ]

    /// The networks that He et al. show the degradation of plain networks with.
    private static let degradation: [ModelEntry] = [
        cifarResNet(20), cifarResNet(32), cifarResNet(44), cifarResNet(56), cifarResNet(110),
        cifarResNet(20, shortcuts: false), cifarResNet(56, shortcuts: false),
    ]

    private static func cifarResNet(_ depth: Int, shortcuts: Bool = true) -> ModelEntry {
        ModelEntry(
            (shortcuts ? "resnet" : "plain") + "\(depth)",
            shortcuts ? "\(depth) layers of 16, 32 and 64 channels" : "resnet\(depth) without shortcuts",
            input: [32, 32, 3], family: .cifar, reference: "He et al. 2015"
        ) { ResNetCIFAR(depth: depth, shortcuts: shortcuts, classes: $0.head) }
    }

    private static let alexnet = large(
        "alexnet", "five convolutions, three linear layers", "Krizhevsky 2014", heads: ["classifier.6."],
        top: ["classifier."]
    ) { AlexNet(classes: $0.head, dropout: $0.dropout ?? 0.5) }

    private static let vggs: [ModelEntry] = [
        vgg(11, [1, 1, 2, 2, 2]), vgg(11, [1, 1, 2, 2, 2], batchNorm: true),
        vgg(13, [2, 2, 2, 2, 2]), vgg(13, [2, 2, 2, 2, 2], batchNorm: true),
        vgg(16, [2, 2, 3, 3, 3]), vgg(16, [2, 2, 3, 3, 3], batchNorm: true),
        vgg(19, [2, 2, 4, 4, 4]), vgg(19, [2, 2, 4, 4, 4], batchNorm: true),
    ]

    private static let googlenet = large(
        "googlenet", "nine inception blocks, two auxiliary classifiers (--no-aux)", "Szegedy et al. 2014",
        heads: ["fc.", "aux1.fc2.", "aux2.fc2."]
    ) {
        GoogLeNet(
            classes: $0.head, auxiliary: $0.auxiliary, dropout: $0.dropout, transformsInput: $0.transformsInput)
    }

    private static let resnets: [ModelEntry] = [
        resnet("resnet18", "18 layers of basic blocks", .basic, [2, 2, 2, 2]),
        resnet("resnet34", "34 layers of basic blocks", .basic, [3, 4, 6, 3]),
        resnet("resnet50", "50 layers of bottlenecks", .bottleneck(), [3, 4, 6, 3]),
        resnet("resnet101", "101 layers of bottlenecks", .bottleneck(), [3, 4, 23, 3]),
        resnet("resnet152", "152 layers of bottlenecks", .bottleneck(), [3, 8, 36, 3]),
        resnet(
            "resnext50_32x4d", "resnet50 with 32 groups of 4 channels", .bottleneck(groups: 32, width: 4),
            [3, 4, 6, 3],
            "Xie et al. 2016"),
        resnet(
            "resnext101_32x8d", "resnet101 with 32 groups of 8 channels", .bottleneck(groups: 32, width: 8),
            [3, 4, 23, 3], "Xie et al. 2016"),
        resnet(
            "wide_resnet50_2", "resnet50 with twice as wide 3×3 convolutions", .bottleneck(width: 128), [3, 4, 6, 3],
            "Zagoruyko and Komodakis 2016"),
        resnet(
            "wide_resnet101_2", "resnet101 with twice as wide 3×3 convolutions", .bottleneck(width: 128),
            [3, 4, 23, 3],
            "Zagoruyko and Komodakis 2016"),
    ]

    private static let densenets: [ModelEntry] = [
        densenet(121, [6, 12, 24, 16]), densenet(169, [6, 12, 32, 32]), densenet(201, [6, 12, 48, 32]),
    ]

    /// What the lectures on recurrent networks teach.
    private static let sequences: [ModelEntry] = [
        hello("rnn-hello", "\"hello\" to \"ohlol\": a recurrent layer over one-hot letters", head: "rnn.") {
            RNNHello(classes: $0.classes)
        },
        hello("rnn-hello-cell", "the same, cell by cell", head: "cell.") { RNNHelloCell(classes: $0.classes) },
        hello("rnn-hello-embedding", "the same with an embedding, two layers and a linear head", head: "fc.") {
            RNNHelloEmbedding(classes: $0.head)
        },
        ModelEntry(
            "name-classifier", "embedding, GRU in both directions, linear layer: surnames to languages",
            reading: .tokens(vocabulary: 64, longest: 20), family: .text, classes: 18, reference: "Cho et al. 2014"
        ) { NameClassifier(classes: $0.head, dropout: $0.dropout ?? 0) },
        character(.rnn, "embedding, two recurrent layers, linear head: the next character", "Elman 1990"),
        character(.lstm, "char-rnn with LSTM layers", "Hochreiter and Schmidhuber 1997"),
        character(.gru, "char-rnn with GRU layers", "Cho et al. 2014"),
    ]

    private static func hello(
        _ name: String, _ summary: String, head: String,
        make: @escaping @Sendable (ModelOptions) -> any Module
    ) -> ModelEntry {
        ModelEntry(
            name, summary, reading: .tokens(vocabulary: 4, longest: 5), family: .text, classes: 4, headPrefixes: [head],
            reference: "Elman 1990", make: make)
    }

    private static func character(_ kind: CharModel.Kind, _ summary: String, _ reference: String) -> ModelEntry {
        ModelEntry(
            "char-" + kind.rawValue, summary, reading: .tokens(vocabulary: 128, longest: 64), family: .text,
            classes: 128, reference: reference
        ) { CharModel(kind, classes: $0.head, dropout: $0.dropout ?? 0) }
    }

    private static func vgg(_ depth: Int, _ stages: [Int], batchNorm: Bool = false) -> ModelEntry {
        let summary = "\(depth - 3) 3×3 convolutions, three linear layers" + (batchNorm ? ", batch normalisation" : "")
        let reference = "Simonyan and Zisserman 2014"
        return large(
            "vgg\(depth)" + (batchNorm ? "_bn" : ""), summary, reference, heads: ["classifier.6."], top: ["classifier."]
        ) {
            VGG(stages: stages, batchNorm: batchNorm, classes: $0.head, dropout: $0.dropout ?? 0.5)
        }
    }

    private static func resnet(
        _ name: String, _ summary: String, _ block: ResNet.Block, _ stages: [Int],
        _ reference: String = "He et al. 2015"
    ) -> ModelEntry {
        large(name, summary, reference, heads: ["fc."]) { ResNet(block, stages: stages, classes: $0.head) }
    }

    private static func densenet(_ depth: Int, _ blocks: [Int]) -> ModelEntry {
        large("densenet\(depth)", "\(depth) layers in four dense blocks", "Huang et al. 2016", heads: ["classifier."]) {
            DenseNet(blocks: blocks, classes: $0.head)
        }
    }

    /// A model for ImageNet.
    private static func large(
        _ name: String, _ summary: String, _ reference: String, heads: [String], top: [String]? = nil,
        make: @escaping @Sendable (ModelOptions) -> any Module
    ) -> ModelEntry {
        ModelEntry(
            name, summary, input: [224, 224, 3], family: .imagenet, classes: 1000, headPrefixes: heads,
            topPrefixes: top, reference: reference, make: make)
    }
}
