import DTrainEngine
import DTrainModels
import DTrainTensor
import TestSupport
import Testing

/// The models for CIFAR and MNIST against PyTorch's: logits, loss, gradients. `Fixtures/make_small_models.py` has their
/// definitions and says what is stored.
@Suite struct SmallModelParityTests {
    private static let batch = 2

    @Test(arguments: ["resnet20", "plain20", "resnet18-cifar", "cnn-cifar"], settings)
    func matchesPyTorch(_ name: String, _ setting: (Int, ConvolutionMethod)) throws {
        try compare(name, name, .original, setting)
    }

    @Test(arguments: ResidualUnit.allCases, settings)
    func residualBlocksMatchPyTorch(_ unit: ResidualUnit, _ setting: (Int, ConvolutionMethod)) throws {
        try compare("resnet-mnist", "resnet-mnist.\(unit.rawValue)", unit, setting)
    }

    /// Threads, and how convolutions are computed.
    private static let settings: [(Int, ConvolutionMethod)] = [
        (1, .byRule), (2, .byRule), (1, .oneDNN), (1, .unfolded),
    ]

    private func compare(
        _ model: String, _ key: String, _ unit: ResidualUnit, _ setting: (threads: Int, method: ConvolutionMethod)
    ) throws {
        let fixture = try Fixture("small_models")
        let entry = try #require(ModelEntry.all.first { $0.name == model })
        var options = ModelOptions(classes: 10, dropout: 0)
        options.block = unit
        let first = Int(try fixture("\(key).first")[0])
        // Of resnet18-cifar a quarter of the image: fewer ReLUs that rounding could decide.
        let input = model == "resnet18-cifar" ? [16, 16, 3] : entry.input.shape
        let run = try ModelRun(
            entry.make(options), inputs: Formula.images(Self.batch, input, first: first),
            labels: Formula.labels(Self.batch, classes: 10, first: first), threads: setting.threads,
            method: setting.method)
        Formula.fill(run.replica)

        let logits = try fixture("\(key).logits")
        expectWithin(run.evaluate(), logits, 1e-4 * spread(logits, images: Self.batch), "\(key)'s logits")
        expectClose([run.computeGradients()], try fixture("\(key).loss"), tolerance: 1e-4, "\(key)'s loss")
        let gradients = fixture.all("\(key).gradient.")
        let largest = fixture.all("\(key).largest.")
        #expect(Set(run.trainable.map(\.name)) == Set(gradients.keys))
        let floor = largest.values.reduce(0) { max($0, $1[0]) } / 1000
        for segment in run.trainable {
            let gradient = run.gradient(segment)
            let sample = gradient.count > 256 ? (0..<256).map { gradient[$0 * 7919 % gradient.count] } : gradient
            let scale = max(floor, try #require(largest[segment.name])[0])
            expectWithin(
                sample, try #require(gradients[segment.name]), 1e-4 * scale, "\(key): gradient of \(segment.name)")
            expectWithin(
                [gradient.reduce(0) { max($0, abs($1)) }], largest[segment.name]!, 1e-4 * scale,
                "\(key): largest gradient of \(segment.name)")
        }
    }
}
