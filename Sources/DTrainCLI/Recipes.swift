import DTrainData
import DTrainTensor
import DTrainTrainer

/// An experiment of the lectures as settings: the lowest layer, under a file and the command line.
struct Recipe {
    let name: String
    /// One line.
    let summary: String
    let settings: [RunSetting: String]
    /// The recipe whose weights it begins with (`--init`); nil for one that begins anew.
    var start: String?
    /// Where its data come from, and what to take instead; nil for data that `data fetch` brings, or that are in the program.
    var origin: String?

    /// The settings as a layer.
    var layer: RunSettings {
        var layer = RunSettings(source: "recipe \(name)", values: settings)
        layer.isRecipe = true
        return layer
    }

    /// Throws for a name that no recipe has.
    static func named(_ name: String) throws -> Recipe {
        guard let recipe = all.first(where: { $0.name == name }) else {
            let names = all.map(\.name)
            throw UsageError(
                "unknown recipe '\(name)'\(suggestion(for: name, among: names)); valid: "
                    + "\(names.joined(separator: ", ")).")
        }
        return recipe
    }

    static let all: [Recipe] = digits + residualBlocks + pictures + transfer + sequences

    /// Digits, with data that `dtrain data fetch mnist` brings.
    private static let digits: [Recipe] = {
        let small: [RunSetting: String] = [
            .data: "mnist:data/mnist", .epochs: "4", .batchSize: "64", .lr: "0.05", .momentum: "0.9",
        ]
        func permuted(_ settings: [RunSetting: String]) -> [RunSetting: String] {
            settings.merging([.augment: "permute-pixels"]) { $1 }
        }
        let fullyConnected = small.merging([.model: "mlp-small"]) { $1 }
        let convolutional = small.merging([.model: "cnn-small"]) { $1 }
        return [
            Recipe(
                name: "digits-fc", summary: "784-8-8-10 fully connected (6,442 parameters) on MNIST",
                settings: fullyConnected),
            Recipe(
                name: "digits-conv", summary: "two convolutions of 6 channels, 50-10 (6,422 parameters) on MNIST",
                settings: convolutional),
            Recipe(
                name: "digits-fc-permuted", summary: "digits-fc on pixels in an order of their own",
                settings: permuted(fullyConnected)),
            Recipe(
                name: "digits-conv-permuted", summary: "digits-conv on pixels in an order of their own",
                settings: permuted(convolutional)),
            Recipe(
                name: "inception-mnist", summary: "the lecture's inception network on MNIST",
                settings: [
                    .model: "inception-mnist", .data: "mnist:data/mnist", .epochs: "5", .batchSize: "64", .lr: "0.01",
                    .momentum: "0.5",
                ]),
        ]
    }()

    /// The residual blocks of He et al. 2016 on MNIST; `--block` names one.
    private static let residualBlocks = [
        Recipe(
            name: "resnet-mnist", summary: "a residual network on MNIST; choose the block with --block",
            settings: [
                .model: "resnet-mnist", .data: "mnist:data/mnist", .epochs: "2", .batchSize: "64", .lr: "0.02",
                .momentum: "0.9",
            ])
    ]

    /// CIFAR-10, with data that `dtrain data fetch cifar10` brings.
    private static let pictures: [Recipe] = {
        /// He et al. 2015, section 4.2, in six epochs instead of 164: the rate falls after the third and the fifth.
        func he(_ model: String, _ summary: String) -> Recipe {
            Recipe(
                name: model, summary: summary,
                settings: [
                    .model: model, .data: "cifar10:data/cifar10", .augment: "random-crop:32:4,flip", .epochs: "6",
                    .batchSize: "128", .lr: "0.1", .momentum: "0.9", .weightDecay: "0.0001", .schedule: "multistep",
                    .milestones: "3,5", .warmupEpochs: "1",
                ])
        }
        return [
            Recipe(
                name: "cnn-cifar", summary: "the network of PyTorch's CIFAR-10 tutorial",
                settings: [
                    .model: "cnn-cifar", .data: "cifar10:data/cifar10", .epochs: "12", .batchSize: "32", .lr: "0.01",
                    .momentum: "0.9", .schedule: "cosine", .augment: "flip",
                ]),
            he("resnet20", "20 layers with shortcuts on CIFAR-10"),
            he("resnet56", "56 layers with shortcuts on CIFAR-10"),
            he("plain20", "20 layers without shortcuts on CIFAR-10"),
            he("plain56", "56 layers without shortcuts on CIFAR-10: degradation"),
        ]
    }()

    /// What the lectures on recurrent networks show.
    private static let sequences: [Recipe] = [
        Recipe(
            name: "hello", summary: "a recurrent network that turns \"hello\" into \"ohlol\"",
            settings: [
                .model: "rnn-hello", .data: "hello", .steps: "300", .batchSize: "1", .optimizer: "adam", .lr: "0.03",
                .evalEvery: "300", .checkpointEvery: "300",
            ]),
        Recipe(
            name: "surnames", summary: "from which of 18 languages a surname comes",
            settings: [
                .model: "name-classifier", .data: "names:data/names", .epochs: "15", .batchSize: "64",
                .optimizer: "adam", .lr: "0.002", .schedule: "cosine", .dropout: "0.3", .labelSmoothing: "0.1",
            ],
            origin:
                "put the folder data/names of github.com/spro/practical-pytorch there, or give --data names-sample, the "
                + "surnames of ten languages inside the program"),
        Recipe(
            name: "shakespeare", summary: "the next character of Shakespeare's plays",
            settings: [
                .model: "char-lstm", .data: "text:data/text/tinyshakespeare.txt", .epochs: "8", .batchSize: "32",
                .optimizer: "adam", .lr: "0.002", .schedule: "cosine", .clipNorm: "5",
            ],
            origin:
                "put data/tinyshakespeare/input.txt of github.com/karpathy/char-rnn there under this name, or give --data "
                + "text-sample, its first 100 KB inside the program"),
    ]

    /// What eight classes of CIFAR-10 teach about the other two.
    private static let transfer: [Recipe] = {
        let target: [RunSetting: String] = [
            .model: "resnet20", .data: "only:8-9@cifar10:data/cifar10", .epochs: "3", .batchSize: "64", .lr: "0.02",
            .momentum: "0.9", .weightDecay: "0.0001", .schedule: "cosine", .augment: "random-crop:32:4,flip",
        ]
        return [
            Recipe(
                name: "transfer-source", summary: "resnet20 on the first eight classes of CIFAR-10",
                settings: [
                    .model: "resnet20", .data: "only:0-7@cifar10:data/cifar10",
                    .augment: "random-crop:32:4,flip", .epochs: "6", .batchSize: "128", .lr: "0.1", .momentum: "0.9",
                    .weightDecay: "0.0001", .schedule: "cosine", .warmupEpochs: "1",
                ]),
            Recipe(
                name: "transfer-all", summary: "its weights (--init) trained on for the last two classes",
                settings: target, start: "transfer-source"),
            Recipe(
                name: "transfer-head", summary: "the same, with all but the last layer frozen",
                settings: target.merging([.freeze: "conv*,bn*,layer*"]) { $1 }, start: "transfer-source"),
            Recipe(
                name: "transfer-scratch", summary: "the same from random weights", settings: target),
        ]
    }()
}

/// Data of a recipe that are not there.
struct MissingRecipeData: Error, CustomStringConvertible {
    let error: DataError
    let remedy: String

    var description: String { "\(error); \(remedy)" }
}
