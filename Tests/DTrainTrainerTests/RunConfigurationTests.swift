import DTrainData
import DTrainOptimizers
import DTrainTrainer
import Testing

@Suite struct RunConfigurationTests {
    func layer(_ values: [RunSetting: String]) -> RunSettings { RunSettings(source: "a file", values: values) }

    /// A value for every setting that differs from its default, and goes with the others.
    static let everything: [RunSetting: String] = [
        .model: "lenet5", .classes: "12", .dropout: "0.25", .`init`: "a b.safetensors", .data: "mnist:x",
        .freeze: "conv1.*,fc.bias", .syncBatchNorm: "true", .augment: "permute-pixels", .noShuffle: "true", .loaderThreads: "3", .epochs: "7", .steps: "900",
        .batchSize: "96", .accumulate: "2", .optimizer: "sgd", .lr: "0.25", .momentum: "0.5", .nesterov: "true",
        .weightDecay: "0.0001", .clipNorm: "1.5", .labelSmoothing: "0.1", .schedule: "multistep", .milestones: "2,5",
        .gamma: "0.2", .warmupEpochs: "0.5", .seed: "11", .precision: "fp32", .workers: "4", .threads: "2",
        .coordinator: "dedicated", .evalEvery: "30", .checkpointEvery: "40", .keep: "5",
    ]

    @Test func whatIsSavedReadsBackToTheSame() throws {
        let configuration = try RunConfiguration(layers: [layer(Self.everything)])
        #expect(configuration.saved.values == Self.everything)
        #expect(try RunConfiguration(layers: [configuration.saved]) == configuration)
        #expect(configuration != RunConfiguration())
    }

    @Test func everySettingHasItsEffect() throws {
        let all = try RunConfiguration(layers: [layer(Self.everything)])
        // Without one setting, the configuration is another one: none of them is read into the wrong place.
        for setting in Self.everything.keys where setting != .optimizer && setting != .precision {
            var values = Self.everything
            values[setting] = nil
            if setting == .schedule || setting == .milestones {
                values = values.filter { ![.schedule, .milestones, .gamma].contains($0.key) }
            }
            if setting == .momentum { values[.momentum] = "0.75" }
            let other = try RunConfiguration(layers: [layer(values)])
            #expect(other.text(of: setting) != all.text(of: setting), "\(setting.rawValue)")
        }
        #expect(all.optimizerConfiguration == .sgd(momentum: 0.5, nesterov: true, weightDecay: 0.0001))
        #expect(
            all.learningRateSchedule
                == Schedule(base: 0.25, decay: .multistep(milestones: [2, 5], gamma: 0.2), warmupEpochs: 0.5))
        #expect(try all.dataSpecification == .mnist(directory: "x"))
        #expect(all.augment == [.permutePixels] && !all.shuffle && all.seed == 11)
    }

    @Test func laterLayersWinAndALengthReplacesTheOther() throws {
        let configuration = try RunConfiguration(layers: [
            layer([.epochs: "9", .lr: "0.5", .keep: "2"]), layer([.lr: "0.125", .steps: "40"]),
        ])
        #expect(configuration.learningRate == 0.125 && configuration.keep == 2)
        #expect(configuration.epochs == nil && configuration.totalSteps(stepsPerEpoch: 10) == 40)
        let both = try RunConfiguration(layers: [layer([.epochs: "3", .steps: "40"])])
        #expect(both.totalSteps(stepsPerEpoch: 10) == 30 && both.totalSteps(stepsPerEpoch: 20) == 40)
        #expect(RunConfiguration().totalSteps(stepsPerEpoch: 156) == 468)
    }

    @Test(arguments: [("sgd", 0.01, 0.0), ("adam", 0.001, 0.0), ("adamw", 0.001, 0.01)])
    func theOptimizerHasDefaultsOfItsOwn(optimizer: String, rate: Double, decay: Double) throws {
        let configuration = try RunConfiguration(layers: [layer([.optimizer: optimizer])])
        #expect(configuration.learningRate == rate && configuration.weightDecay == decay)
        let given = try RunConfiguration(layers: [layer([.optimizer: optimizer, .lr: "0.3", .weightDecay: "0.4"])])
        #expect(given.learningRate == 0.3 && given.weightDecay == 0.4)
    }

    @Test func aResumedRunKeepsWhatItComputesAndTakesTheRest() throws {
        let saved = try RunConfiguration(layers: [layer(Self.everything)]).saved
        let changed: [RunSetting: String] = [
            .epochs: "8", .steps: "1000", .workers: "2", .threads: "1", .loaderThreads: "2", .coordinator: "inline",
            .evalEvery: "3", .checkpointEvery: "4", .keep: "1", .quiet: "true", .progress: "none", .out: "o",
        ]
        let resumed = try RunConfiguration(resuming: saved, layers: [layer(changed)])
        for (setting, text) in changed { #expect(resumed.text(of: setting) == text) }
        for setting in RunSetting.allCases where setting.lifetime == .fixed {
            #expect(resumed.text(of: setting) == Self.everything[setting] ?? RunConfiguration().text(of: setting))
        }
    }

    @Test(arguments: RunSetting.allCases.filter { $0.lifetime == .fixed })
    func nothingElseMayChangeOnResume(setting: RunSetting) throws {
        let saved = try RunConfiguration(layers: [layer(Self.everything)]).saved
        let others: [RunSetting: String] = [
            .model: "mlp", .classes: "10", .dropout: "0.5", .`init`: "c", .freeze: "fc.*",
            .syncBatchNorm: "false", .data: "mnist:y", .augment: "none",
            .noShuffle: "false", .batchSize: "64", .accumulate: "1", .optimizer: "adam", .lr: "0.5", .momentum: "0.9",
            .nesterov: "false", .betas: "0.8,0.9", .weightDecay: "0", .clipNorm: "1", .labelSmoothing: "0",
            .schedule: "cosine", .milestones: "2,6", .gamma: "0.1", .stepSize: "2", .warmupEpochs: "0", .seed: "0",
        ]
        guard let other = others[setting] else {
            #expect(setting == .precision, "only precision has a single value")
            return
        }
        let error = #expect(throws: ConfigurationError.self) {
            try RunConfiguration(resuming: saved, layers: [layer([setting: other])])
        }
        let text = error.map { "\($0)" } ?? ""
        #expect(text.hasPrefix("--\(setting.rawValue) is '") && text.contains("on a file but '"), "\(text)")
        // The same value again is no change.
        if let same = Self.everything[setting] {
            #expect(throws: Never.self) { try RunConfiguration(resuming: saved, layers: [layer([setting: same])]) }
        }
    }

    @Test func theBatchMustFitRanksAndSamples() throws {
        var configuration = RunConfiguration()
        configuration.batchSize = 8
        configuration.accumulate = 2
        #expect(throws: Never.self) { try configuration.validate(ranks: 4) }
        #expect(throws: ConfigurationError.self) { try configuration.validate(ranks: 5) }
        configuration.coordinator = .dedicated
        #expect(throws: Never.self) { try configuration.validate(ranks: 5) }
        #expect(throws: ConfigurationError.self) { try configuration.validate(ranks: 1) }
        #expect(configuration.trainingRanks(of: 5) == 4)
        #expect(throws: Never.self) { try configuration.validate(trainingSamples: 8) }
        #expect(throws: ConfigurationError.self) { try configuration.validate(trainingSamples: 7) }
    }

    @Test func ranksWithOtherSettingsAreNamed() throws {
        let zero = layer([.lr: "0.1", .seed: "3", .threads: "1"])
        #expect(throws: Never.self) {
            try layer([.lr: "0.1", .seed: "3", .threads: "2"]).check(against: zero, rank: 1, host: "h")
        }
        let error = #expect(throws: ConfigurationError.self) {
            try layer([.lr: "0.1"]).check(against: zero, rank: 2, host: "node-3")
        }
        #expect(error.map { "\($0)" }?.hasPrefix("--seed is not given on rank 2 (node-3) but '3' on rank 0; ") == true)
    }

    @Test func yamlQuotesWhatYAMLWouldReadOtherwise() {
        let settings = layer([.data: "mnist:a b", .out: "x\"y\\z", .model: "mlp", .milestones: "2,5"])
        #expect(
            settings.yaml == """
                model: mlp
                data: "mnist:a b"
                milestones: 2,5
                out: "x\\"y\\\\z"

                """)
    }
}
