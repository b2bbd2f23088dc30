import DTrainEngine
import DTrainModels
import DTrainOptimizers
import Testing

/// The four seed models against PyTorch, from the same weights: logits, loss, every parameter's gradient, ten SGD steps.
@Suite struct ModelParityTests {
    static let models = ["mlp", "lenet5", "cnn-mnist", "inception-mnist"]

    @Test(
        arguments: models,
        [(1, .byRule), (2, .byRule), (3, .byRule), (1, .oneDNN), (1, .unfolded)] as [(Int, ConvolutionMethod)])
    func logitsLossAndGradientsMatchPyTorch(
        _ model: String, _ setting: (threads: Int, method: ConvolutionMethod)
    ) throws {
        let fixture = try ParityFixture(model)
        let run = try ConvolutionMethod.$ofModels.withValue(setting.method) {
            try ParityRun(model, threads: setting.threads)
        }
        let loss = try run.computeGradients(batch: 0)
        try fixture.expectMatch(run.logits, "logits", rows: ParityFixture.batch, tolerance: 1e-5)
        try fixture.expectMatch([Float(loss)], "loss", rows: 1, tolerance: 1e-6)
        let thousandthOfLargest = try fixture.largest(ofAll: "gradient.") / 1_000
        #expect(thousandthOfLargest > 0)
        for segment in run.replica.layout.segments {
            try fixture.expectMatch(
                run.gradient(segment), "gradient." + segment.name, rows: segment.shape[0], tolerance: 1e-4,
                scale: thousandthOfLargest)
        }
    }

    @Test(arguments: models)
    func evaluationGivesTheSameLogits(_ model: String) throws {
        let fixture = try ParityFixture(model)
        let run = try ParityRun(model, threads: 2)
        let sum = try run.evaluate(batch: 0)
        try fixture.expectMatch(run.replica.outputs.array(), "logits", rows: ParityFixture.batch, tolerance: 1e-5)
        #expect(sum.loss.denominator == Double(ParityFixture.batch))
        try fixture.expectMatch([Float(sum.loss.sum / sum.loss.denominator)], "loss", rows: 1, tolerance: 1e-6)
    }

    @Test(arguments: models, [1, 2])
    func tenStepsOfSGDMatchPyTorch(_ model: String, threads: Int) throws {
        let fixture = try ParityFixture(model)
        let run = try ParityRun(model, threads: threads)
        let layout = run.replica.layout
        let initial = Dictionary(uniqueKeysWithValues: layout.segments.map { ($0.name, run.parameter($0)) })
        let optimizer = try Optimizer(.sgd(momentum: 0.9, weightDecay: 1e-4), layout: layout)
        var losses: [Float] = []
        for step in 0..<ParityFixture.steps {
            losses.append(Float(try run.computeGradients(batch: step)))
            optimizer.update(
                parameters: run.replica.parameters, gradients: run.replica.gradients, rate: 0.01,
                gradientScale: 1 / Double(ParityFixture.batch), step: step, pool: run.pool)
        }
        try fixture.expectMatch(losses, "losses", rows: 1, tolerance: 2e-6)
        for segment in layout.segments {
            let update = zip(run.parameter(segment), initial[segment.name]!).map { $0 - $1 }
            // Each of ten additions to a weight below 1 / 2 may round away 2⁻²⁵, however small the update is.
            try fixture.expectMatch(
                update, "update." + segment.name, rows: segment.shape[0], tolerance: 1e-4,
                slack: Float(ParityFixture.steps) * 0x1p-25)
        }
    }

    /// The names, shapes and order of `state_dict()`; the fixtures' own names prove the other direction.
    @Test(arguments: models)
    func parametersHavePyTorchNames(_ model: String) throws {
        let fixture = try ParityFixture(model)
        let names = try ParityRun(model, threads: 1).replica.layout.segments.map(\.name)
        #expect(Set(names) == fixture.parameterNames)
        #expect(names.count == fixture.parameterNames.count)
    }
}
