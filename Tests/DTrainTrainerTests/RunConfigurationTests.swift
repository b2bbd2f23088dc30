import DTrainData
import DTrainOptimizers
import DTrainTrainer
import Testing

@Suite struct RunConfigurationTests {
    func layer(_ values: [RunSetting: String]) -> RunSettings { RunSettings(source: "a file", values: values) }

    /// A value for every setting that differs from its default, and goes with the others.
    static let everything: [RunSetting: String] = [
        .model: "lenet5", .classes: "12", .dropout: "0.25", .`init`: "a b.safetensors", .data: "mnist:x",
        .imageSize: "96", .noTop: "true", .noAux: "true", .block: "full-pre-activation", .skipBroken: "true",
        .freeze: "conv1.*,fc.bias", .syncBatchNorm: "true", .augment: "permute-pixels", .noShuffle: "true",
        .loaderThreads: "3", .epochs: "7", .steps: "900",
        .batchSize: "96", .accumulate: "2", .optimizer: "sgd", .lr: "0.25", .momentum: "0.5", .nesterov: "true",
        .weightDecay: "0.0001", .clipNorm: "1.5", .labelSmoothing: "0.1", .schedule: "multistep", .milestones: "2,5",
        .decay: "weights", .ema: "0.9", .emaWarmup: "true", .monitor: "top1", .earlyStop: "4", .minDelta: "0.01",
        .gamma: "0.2", .warmupEpochs: "0.5", .seed: "11", .precision: "bf16", .compress: "bf16", .workers: "4",
        .threads: "2",
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
        for setting in Self.everything.keys where setting != .optimizer {
            var values = Self.everything
            values[setting] = nil
            if setting == .schedule || setting == .milestones {
                values = values.filter { ![.schedule, .milestones, .gamma].contains($0.key) }
            }
            let dependent: [RunSetting: [RunSetting]] = [
                .ema: [.emaWarmup], .earlyStop: [.monitor, .minDelta], .weightDecay: [.decay],
            ]
            for other in dependent[setting] ?? [] { values[other] = nil }
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
        #expect(all.decay == .weights && all.averaging == WeightAveraging(decay: 0.9, warmsUp: true))
        #expect(all.earlyStopping == EarlyStopping(patience: 4, minimumDelta: 0.01) && all.monitor == .top1)
    }

    @Test func everyRuleAndScheduleTakesItsSettings() throws {
        func optimizer(_ values: [RunSetting: String]) throws -> OptimizerConfiguration {
            let configuration = try RunConfiguration(layers: [layer(values)])
            #expect(try RunConfiguration(layers: [configuration.saved]) == configuration)
            return configuration.optimizerConfiguration
        }
        #expect(
            try optimizer([
                .optimizer: "rmsprop", .alpha: "0.8", .centered: "true", .momentum: "0.5", .epsilon: "0.001",
                .weightDecay: "0.1",
            ]) == .rmsProp(alpha: 0.8, epsilon: 0.001, momentum: 0.5, centered: true, weightDecay: 0.1))
        #expect(
            try optimizer([
                .optimizer: "adagrad", .rateDecay: "0.25", .initialAccumulator: "0.125", .epsilon: "0.5",
                .weightDecay: "0.1",
            ]) == .adagrad(rateDecay: 0.25, initialAccumulator: 0.125, epsilon: 0.5, weightDecay: 0.1))
        #expect(
            try optimizer([
                .optimizer: "lars", .momentum: "0.5", .nesterov: "true", .trustCoefficient: "0.02", .epsilon: "0.5",
                .weightDecay: "0.1",
            ])
                == .lars(
                    momentum: 0.5, nesterov: true, trustCoefficient: 0.02, epsilon: 0.5, weightDecay: 0.1))
        #expect(
            try optimizer([.optimizer: "lamb", .betas: "0.5,0.75", .epsilon: "0.5", .weightDecay: "0.1"])
                == .lamb(beta1: 0.5, beta2: 0.75, epsilon: 0.5, weightDecay: 0.1))
        #expect(try optimizer([.optimizer: "adam", .epsilon: "0.5"]) == .adam(epsilon: 0.5))
        // What nobody gives is each rule's own.
        #expect(try optimizer([.optimizer: "rmsprop"]) == .rmsProp())
        #expect(try optimizer([.optimizer: "adagrad"]) == .adagrad())
        #expect(try optimizer([.optimizer: "lars"]) == .lars())
        #expect(try optimizer([.optimizer: "lamb"]) == .lamb())
        #expect(try optimizer([.optimizer: "adamw"]) == .adamW())

        func decay(_ values: [RunSetting: String]) throws -> Schedule.Decay {
            let configuration = try RunConfiguration(layers: [layer(values)])
            #expect(try RunConfiguration(layers: [configuration.saved]) == configuration)
            return configuration.learningRateSchedule.decay
        }
        #expect(try decay([.schedule: "polynomial", .power: "2.5"]) == .polynomial(power: 2.5))
        #expect(
            try decay([.schedule: "onecycle", .pctStart: "0.5", .divFactor: "4", .finalDivFactor: "8"])
                == .oneCycle(pctStart: 0.5, divFactor: 4, finalDivFactor: 8))
        #expect(
            try decay([.schedule: "plateau", .gamma: "0.5", .patience: "0", .threshold: "0.25", .cooldown: "3"])
                == .plateau(Plateau(factor: 0.5, patience: 0, threshold: 0.25, cooldown: 3)))
        #expect(try decay([.schedule: "onecycle"]) == .oneCycle())
        #expect(try decay([.schedule: "plateau"]) == .plateau(Plateau()))
    }

    @Test(
        arguments: [
            [.alpha: "0.9"], [.centered: "true"], [.rateDecay: "0.1"], [.initialAccumulator: "0.1"],
            [.trustCoefficient: "0.1"], [.epsilon: "0.1"], [.decay: "weights"], [.emaWarmup: "true"], [.power: "2"],
            [.pctStart: "0.5"], [.divFactor: "2"], [.finalDivFactor: "2"], [.patience: "2"], [.threshold: "0.1"],
            [.cooldown: "2"], [.monitor: "top1"], [.minDelta: "0.1"], [.schedule: "onecycle", .warmupEpochs: "1"],
            [.optimizer: "lamb", .momentum: "0.5"], [.optimizer: "rmsprop", .nesterov: "true"],
            [.optimizer: "adagrad", .betas: "0.5,0.5"],
        ] as [[RunSetting: String]])
    func aSettingWithoutEffectIsRefused(values: [RunSetting: String]) {
        let error = #expect(throws: ConfigurationError.self) { try RunConfiguration(layers: [layer(values)]) }
        guard case .withoutEffect? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test(
        arguments: [
            [.optimizer: "rmsprop", .alpha: "1"], [.optimizer: "adam", .epsilon: "0"],
            [.optimizer: "adagrad", .initialAccumulator: "-1"], [.optimizer: "lars", .trustCoefficient: "0"],
            [.optimizer: "lars", .nesterov: "true", .momentum: "0"], [.ema: "1"], [.decay: "bias", .weightDecay: "1"],
            [.schedule: "polynomial", .power: "0"], [.schedule: "onecycle", .pctStart: "1.5"],
            [.schedule: "onecycle", .divFactor: "0.5"], [.schedule: "plateau", .patience: "-1"],
            [.schedule: "plateau", .gamma: "1"], [.schedule: "plateau", .monitor: "top5"], [.earlyStop: "0"],
            [.earlyStop: "2", .minDelta: "-1"],
        ] as [[RunSetting: String]])
    func aValueOutOfRangeIsRefused(values: [RunSetting: String]) {
        let error = #expect(throws: ConfigurationError.self) { try RunConfiguration(layers: [layer(values)]) }
        if case .withoutEffect? = error { Issue.record("\(error!)") }
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

    @Test(arguments: [
        ("sgd", 0.01, 0.0), ("adam", 0.001, 0.0), ("adamw", 0.001, 0.01), ("rmsprop", 0.01, 0.0),
        ("adagrad", 0.01, 0.0), ("lars", 1.0, 0.0), ("lamb", 0.001, 0.01),
    ])
    func theOptimizerHasDefaultsOfItsOwn(optimizer: String, rate: Double, decay: Double) throws {
        let configuration = try RunConfiguration(layers: [layer([.optimizer: optimizer])])
        #expect(configuration.learningRate == rate && configuration.weightDecay == decay)
        let given = try RunConfiguration(layers: [layer([.optimizer: optimizer, .lr: "0.3", .weightDecay: "0.4"])])
        #expect(given.learningRate == 0.3 && given.weightDecay == 0.4)
    }

    @Test func aResumedRunKeepsWhatItComputesAndTakesTheRest() throws {
        let saved = try RunConfiguration(layers: [layer(Self.everything)]).saved
        let changed: [RunSetting: String] = [
            .epochs: "8", .steps: "1000", .skipBroken: "false", .workers: "2", .threads: "1", .loaderThreads: "2",
            .coordinator: "inline",
            .earlyStop: "9", .minDelta: "0.5", .evalEvery: "3", .checkpointEvery: "4", .keep: "1", .quiet: "true",
            .progress: "none", .out: "o",
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
            .imageSize: "32", .noTop: "false", .noAux: "false", .block: "original",
            .syncBatchNorm: "false", .data: "mnist:y", .augment: "none", .sequenceLength: "32",
            .noShuffle: "false", .batchSize: "64", .accumulate: "1", .optimizer: "adam", .lr: "0.5", .momentum: "0.9",
            .nesterov: "false", .betas: "0.8,0.9", .weightDecay: "0", .clipNorm: "1", .labelSmoothing: "0",
            .schedule: "cosine", .milestones: "2,6", .gamma: "0.1", .stepSize: "2", .warmupEpochs: "0", .seed: "0",
            .alpha: "0.5", .centered: "true", .rateDecay: "0.5", .initialAccumulator: "0.5", .trustCoefficient: "0.5",
            .epsilon: "0.5", .decay: "all", .ema: "0.5", .emaWarmup: "false", .power: "2", .pctStart: "0.5",
            .divFactor: "2", .finalDivFactor: "2", .patience: "2", .threshold: "0.5", .cooldown: "2", .monitor: "loss",
            .precision: "fp32",
            .compress: "none",
        ]
        let other = try #require(others[setting])
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
