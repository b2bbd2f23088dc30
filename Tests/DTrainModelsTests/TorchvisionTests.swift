import DTrainEngine
import DTrainModels
import DTrainTensor
import Foundation
import Testing

/// torchvision's models: names, shapes and counts of all that a state dictionary holds, the logits and the training loss, from
/// weights and images by formula. `Fixtures/make_torchvision.py` describes what is compared.
@Suite(.serialized) struct TorchvisionTests {
    private static let images = 3
    private static let input: Shape = [96, 96, 3]

    static let models =
        ["alexnet", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "googlenet"]
        + ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d"]
        + ["wide_resnet50_2", "wide_resnet101_2", "densenet121", "densenet169", "densenet201"]

    private static let fixture = Result { try Fixture("torchvision") }

    /// What torchvision says of the model: parameters, tensors of the state dictionary, the hash of their names and shapes.
    private struct Description: Equatable {
        var parameters: Int
        var tensors: Int
        var digest: String

        init(_ model: String) throws {
            let texts = try JSONDecoder().decode(
                [String: String].self, from: Data(TorchvisionTests.fixture.get().metadata["models"]!.utf8))
            let parts = try #require(texts[model]).split(separator: " ")
            (parameters, tensors, digest) = (Int(parts[0])!, Int(parts[1])!, String(parts[2]))
        }

        init(_ layout: ParameterLayout) {
            parameters = layout.parameterCount
            tensors = layout.segments.count
            let lines = layout.segments.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }.map {
                "\($0.name) \($0.shape)\n"
            }
            digest = String(fnv1a(lines.joined()), radix: 16)
            digest = String(repeating: "0", count: 16 - digest.count) + digest
        }
    }

    @Test(arguments: models)
    func matchesTorchvision(_ name: String) throws { try compare(name, (1, .byRule)) }

    /// With threads for which the samples are few, and by each provider: the plan's choice for training is neither alone.
    @Test(
        arguments: ["alexnet", "vgg11_bn", "googlenet", "resnet18", "resnet50", "resnext50_32x4d", "densenet121"],
        [(2, .byRule), (1, .oneDNN), (1, .unfolded)] as [(Int, ConvolutionMethod)])
    func matchesTorchvisionInOtherWays(_ name: String, _ setting: (Int, ConvolutionMethod)) throws {
        try compare(name, setting)
    }

    private func compare(_ name: String, _ setting: (threads: Int, method: ConvolutionMethod)) throws {
        let fixture = try Self.fixture.get()
        let entry = try #require(ModelEntry.all.first { $0.name == name })
        #expect(entry.classes == 1000 && entry.input == .values([224, 224, 3]) && entry.family == .imagenet)
        var options = ModelOptions(classes: 1000, dropout: 0)
        options.top = true
        let run = try ModelRun(
            entry.make(options), inputs: Formula.images(Self.images, Self.input),
            labels: Formula.labels(Self.images, classes: 1000), threads: setting.threads, method: setting.method)
        // As in training, where samples are many for the threads: what a convolution alone reads is normalised as it is read.
        let hasBatchNorm = run.replica.layout.segments.contains { $0.name.hasSuffix(".running_mean") }
        #expect((run.deferredCount > 0) == (hasBatchNorm && setting.threads == 1))
        #expect(try Description(run.replica.layout) == Description(name))
        Formula.fill(run.replica, branchEnd: Self.branchEnd(name))
        let expected = try fixture("\(name).logits")
        expectWithin(run.evaluate(), expected, 1e-4 * spread(expected, images: Self.images), "\(name)'s logits")
        let loss = try fixture("\(name).training_loss")
        expectWithin([run.computeGradients()], loss, 1e-4 * abs(loss[0]), "\(name)'s training loss")
    }

    /// The last normalisation of a residual branch, whose weights are small.
    static func branchEnd(_ name: String) -> String? {
        guard name.contains("res") else { return nil }
        return name.hasPrefix("resnet18") || name == "resnet34" ? ".bn2.weight" : ".bn3.weight"
    }
}
