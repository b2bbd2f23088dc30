import DTrainEngine
import DTrainModels
import DTrainTensor
import Testing

/// What `ModelEntry.all` says of each model is true: sizes, heads, families, options.
@Suite struct CatalogueTests {
    private static func entry(_ name: String) throws -> ModelEntry {
        try #require(ModelEntry.all.first { $0.name == name })
    }

    private static func graph(_ name: String, _ options: ModelOptions, mode: Mode = .training) throws -> Graph {
        let entry = try entry(name)
        return try Graph.trace(entry.make(options), input: entry.input, TraceOptions(mode))
    }

    private static func shapes(_ graph: Graph) -> [String: Shape] {
        Dictionary(uniqueKeysWithValues: graph.parameters.map { ($0.name, $0.shape) })
    }

    @Test func namesAreUnique() {
        #expect(Set(ModelEntry.all.map(\.name)).count == ModelEntry.all.count)
        #expect(ModelEntry.all.count == 45)
    }

    /// torchvision's own documentation gives 10⁹ multiply-adds of one image of 224×224 pixels, to three digits.
    @Test(arguments: [
        ("alexnet", 0.714), ("vgg11", 7.609), ("vgg11_bn", 7.609), ("vgg13", 11.308), ("vgg13_bn", 11.308),
        ("vgg16", 15.47), ("vgg16_bn", 15.47), ("vgg19", 19.632), ("vgg19_bn", 19.632), ("googlenet", 1.498),
        ("resnet18", 1.814), ("resnet34", 3.664), ("resnet50", 4.089), ("resnet101", 7.801), ("resnet152", 11.514),
        ("resnext50_32x4d", 4.23), ("resnext101_32x8d", 16.414), ("wide_resnet50_2", 11.398),
        ("wide_resnet101_2", 22.753), ("densenet121", 2.834), ("densenet169", 3.36), ("densenet201", 4.291),
    ])
    func multiplyAddsAreTorchvisions(_ name: String, billions: Double) throws {
        let entry = try Self.entry(name)
        let size = try modelSize(entry.make(ModelOptions(classes: 1000)), input: entry.input)
        #expect(abs(Double(size.multiplyAdds) / 1e9 - billions) <= 0.000_501)
    }

    /// He et al. 2015, table 6, rounds those of the CIFAR networks to 0.27, 0.46, 0.66, 0.85 and 1.7 million; the lecture gives
    /// those of its pair, PyTorch counts the others.
    @Test(arguments: [
        ("resnet20", 269_722), ("resnet32", 464_154), ("resnet44", 658_586), ("resnet56", 853_018),
        ("resnet110", 1_727_962), ("plain20", 269_722), ("plain56", 853_018), ("cnn-cifar", 62_006),
        ("resnet18-cifar", 11_173_962), ("mlp-small", 6_442), ("cnn-small", 6_422), ("googlenet", 13_004_888),
        ("char-rnn", 279_680), ("char-lstm", 970_880), ("char-gru", 740_480), ("name-classifier", 157_714),
        ("rnn-hello", 40), ("rnn-hello-cell", 40), ("rnn-hello-embedding", 380),
    ])
    func parametersAreCounted(_ name: String, parameters: Int) throws {
        let entry = try Self.entry(name)
        let size = try modelSize(entry.make(ModelOptions(classes: entry.classes)), input: entry.input)
        #expect(size.parameterCount == parameters)
    }

    /// The number of classes shapes the parameters of the head, all of them, and no others.
    @Test(arguments: ModelEntry.all.map(\.name))
    func headPrefixesNameTheHead(_ name: String) throws {
        let (ten, eleven) = (
            Self.shapes(try Self.graph(name, ModelOptions(classes: 10))),
            Self.shapes(try Self.graph(name, ModelOptions(classes: 11)))
        )
        #expect(Set(ten.keys) == Set(eleven.keys))
        let prefixes = try Self.entry(name).headPrefixes
        for (parameter, shape) in ten {
            let isHead = prefixes.contains { parameter.hasPrefix($0) }
            #expect((shape != eleven[parameter]) == isHead, "\(parameter)")
        }
    }

    /// Without its head a model returns what the head reads; the other parameters stay. The logits of two of the lecture's
    /// first recurrent networks are their hidden states: they have no head.
    @Test(arguments: ModelEntry.all.map(\.name).filter { !["rnn-hello", "rnn-hello-cell"].contains($0) })
    func withoutTopThereAreFeatures(_ name: String) throws {
        var options = ModelOptions(classes: 10)
        let whole = try Self.graph(name, options)
        options.top = false
        let features = try Self.graph(name, options)
        let width = features.values[features.output].shape
        #expect(width.rank == 1)
        let isClassifier = name == "alexnet" || name.hasPrefix("vgg")
        let removed = Set(Self.shapes(whole).keys).subtracting(Self.shapes(features).keys)
        let (heads, tops) = (try Self.entry(name).headPrefixes, try Self.entry(name).topPrefixes)
        #expect(!removed.isEmpty)
        // Auxiliary classifiers go with the head.
        #expect(removed.allSatisfy { name in (tops + ["aux1.", "aux2."]).contains { name.hasPrefix($0) } })
        let firstOfHead = isClassifier ? (name == "alexnet" ? "classifier.1." : "classifier.0.") : heads[0]
        #expect(Self.shapes(whole)[firstOfHead + "weight"]?.dimensions.last == width.count)
    }

    @Test func googLeNetsAuxiliaryClassifiersTrainAlone() throws {
        var options = ModelOptions(classes: 10)
        func auxiliaries(_ mode: Mode) throws -> Set<String> {
            Set(try Self.graph("googlenet", options, mode: mode).parameters.map(\.name).filter { $0.hasPrefix("aux") })
        }
        #expect(try auxiliaries(.training).contains("aux2.fc2.weight"))
        #expect(try auxiliaries(.evaluation).isEmpty)
        options.auxiliary = false
        #expect(try auxiliaries(.training).isEmpty)
    }

    @Test func dropoutReachesTheModels() throws {
        for (name, standard) in [("alexnet", [0.5, 0.5]), ("vgg11", [0.5, 0.5]), ("googlenet", [0.7, 0.7, 0.2])] {
            func dropouts(_ options: ModelOptions) throws -> [Double] {
                try Self.graph(name, options).nodes.compactMap {
                    ($0.operation as? DropoutOperation).map { (Double($0.probability) * 1000).rounded() / 1000 }
                }
            }
            #expect(try dropouts(ModelOptions(classes: 10)) == standard)
            #expect(try dropouts(ModelOptions(classes: 10, dropout: 0.25)) == standard.map { _ in 0.25 })
            #expect(try dropouts(ModelOptions(classes: 10, dropout: 0)).isEmpty)
        }
    }

    /// googlenet with `transformsInput` is googlenet on samples that were transformed before.
    @Test func transformedInputIsTheSame() throws {
        let (scale, shift): ([Float], [Float]) = ([0.458, 0.448, 0.45], [-0.03, -0.088, -0.188])
        let images = Formula.images(3, [64, 64, 3])
        let transformed = NamedTensor(name: "images", dtype: .float32, shape: images.shape)
        for index in 0..<images.shape.count {
            transformed.floats[index] = images.floats[index] * scale[index % 3] + shift[index % 3]
        }
        func logits(_ samples: NamedTensor, _ transforms: Bool) throws -> [Float] {
            var options = ModelOptions(classes: 7)
            options.transformsInput = transforms
            let run = try ModelRun(
                Self.entry("googlenet").make(options), inputs: samples, labels: Formula.labels(3, classes: 7))
            Formula.fill(run.replica)
            return run.evaluate()
        }
        let (inside, before, without) = (
            try logits(images, true), try logits(transformed, false), try logits(images, false)
        )
        let spread = spread(before, images: 3)
        expectWithin(inside, before, 1e-4 * spread, "logits")
        #expect(zip(inside, without).contains { abs($0 - $1) > 0.1 * spread })
    }
}
