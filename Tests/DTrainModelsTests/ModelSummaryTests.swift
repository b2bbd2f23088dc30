import DTrainEngine
import DTrainModels
import DTrainTensor
import Testing

/// The four models as the issue draws them: sizes that PyTorch counts, shapes, receptive fields, other class counts.
@Suite struct ModelSummaryTests {
    private func model(_ name: String, classes: Int = 10) throws -> any Module {
        try #require(ModelEntry.all.first { $0.name == name }).make(ModelOptions(classes: classes))
    }

    /// `sum(p.numel() for p in model.parameters())`, and the products that forward hooks count.
    @Test(arguments: [
        ("mlp", 535_818, 535_040), ("lenet5", 61_706, 416_520), ("cnn-mnist", 8_490, 467_200),
        ("inception-mnist", 97_298, 6_019_200),
    ])
    func parametersAndMultiplyAddsMatchPyTorch(_ name: String, parameters: Int, multiplyAdds: Int) throws {
        let rows = try summarize(try model(name), input: [28, 28, 1])
        #expect(rows.reduce(0) { $0 + $1.parameterCount } == parameters)
        #expect(rows.reduce(0) { $0 + $1.multiplyAdds } == multiplyAdds)
        let replica = try Replica(
            try model(name), input: [28, 28, 1], classes: 10, capacity: 1, pool: ThreadPool(threadCount: 1))
        #expect(replica.layout.parameterCount == parameters)
        #expect(replica.multiplyAdds == multiplyAdds)
    }

    @Test func inceptionShapesAndReceptiveFields() throws {
        let rows = try summarize(try model("inception-mnist"), input: [28, 28, 1])
        func row(_ name: String) throws -> LayerSummary { try #require(rows.first { $0.name == name }) }
        #expect(try row("conv1").outputShape == [24, 24, 10])
        #expect(try row("conv1").receptiveField == 5)
        #expect(try row("incep1.branch5x5_2").outputShape == [12, 12, 24])
        // conv1 and its pool see 6 pixels 2 apart; five of them, 4 steps of 2 further.
        #expect(try row("incep1.branch5x5_2").receptiveField == 14)
        #expect(try row("conv2").outputShape == [8, 8, 20])
        #expect(try row("fc").outputShape == [10])
        #expect(rows.contains { $0.operation == "concatenate" && $0.outputShape == [4, 4, 88] })
    }

    @Test(arguments: ModelParityTests.models)
    func lastLayerFollowsTheClasses(_ name: String) throws {
        let last = try #require(try summarize(try model(name, classes: 37), input: [28, 28, 1]).last)
        #expect(last.outputShape == [37])
    }

    /// A model that returns another number of values than the data has classes is refused, with both numbers.
    @Test func wrongNumberOfClassesIsAnError() throws {
        let model = try model("cnn-mnist", classes: 9)
        let error = #expect(throws: GraphError.self) {
            try Replica(model, input: [28, 28, 1], classes: 10, capacity: 1, pool: ThreadPool(threadCount: 1))
        }
        #expect(error?.description.contains("9") == true && error?.description.contains("10") == true)
    }

    /// An image too small for the layers is an error that names the layer.
    @Test func tooSmallAnImageNamesTheLayer() throws {
        let error = #expect(throws: GraphError.self) { try summarize(try model("cnn-mnist"), input: [9, 9, 1]) }
        #expect(error?.place == "conv2")
    }
}
