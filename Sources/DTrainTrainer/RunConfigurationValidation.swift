import DTrainData
import DTrainEngine
import DTrainOptimizers

extension RunConfiguration {
    /// Checks what one setting alone cannot tell; a program that fills in the properties itself calls it too.
    public func validate() throws {
        func require(_ holds: Bool, _ setting: RunSetting, _ valid: String) throws {
            guard holds else {
                throw ConfigurationError.invalidValue(
                    setting: setting.rawValue, value: text(of: setting) ?? "", source: nil, valid: valid)
            }
        }
        func isFraction(_ value: Double) -> Bool { value >= 0 && value < 1 }
        try require(batchSize >= 1, .batchSize, "a whole number of at least 1")
        try require(accumulate >= 1, .accumulate, "a whole number of at least 1")
        try require(keep >= 1, .keep, "a whole number of at least 1")
        try require(
            (1...Self.largestThreadCount).contains(loaderThreads), .loaderThreads,
            "a whole number from 1 to \(Self.largestThreadCount)")
        try require(sequenceLength >= 1, .sequenceLength, "a whole number of at least 1")
        try require(learningRate.isFinite && learningRate >= 0, .lr, "a number of at least 0")
        try require(isFraction(momentum), .momentum, "a number of at least 0 and below 1")
        try require(isFraction(labelSmoothing), .labelSmoothing, "a number of at least 0 and below 1")
        try require(isFraction(dropout ?? 0), .dropout, "a number of at least 0 and below 1")
        try require(weightDecay.isFinite && weightDecay >= 0, .weightDecay, "a number of at least 0")
        try require(clipNorm ?? 1 > 0, .clipNorm, "a number above 0")
        try require(epochs ?? 1 >= 1, .epochs, "a whole number of at least 1")
        try require(steps ?? 1 >= 1, .steps, "a whole number of at least 1")
        _ = try dataSpecification
        guard epochs != nil || steps != nil else {
            throw ConfigurationError.doesNotFit(problem: "the run has no end", remedy: "give --epochs or --steps")
        }
        if schedule == .multistep, milestones.isEmpty {
            throw ConfigurationError.doesNotFit(
                problem: "--schedule multistep needs the epochs at which the rate falls",
                remedy: "give --milestones, such as 30,60")
        }
        if schedule == .plateau {
            try require(gamma < 1, .gamma, "a number above 0 and below 1 for the schedule plateau")
        }
        try require(earlyStop ?? 1 >= 1, .earlyStop, "a whole number of at least 1")
        try require(minimumDelta.isFinite && minimumDelta >= 0, .minDelta, "a number of at least 0")
        if nesterov, [.sgd, .lars].contains(optimizer), momentum == 0 {
            throw ConfigurationError.doesNotFit(
                problem: "--nesterov looks ahead along the momentum, which is 0", remedy: "give --momentum above 0")
        }
    }

    /// Checks the batch and the coordinator against the number of ranks that the launcher started.
    public func validate(ranks: Int) throws {
        if let obstacle = precision.obstacle {
            throw ConfigurationError.doesNotFit(
                problem: "--precision \(precision.rawValue) does not work here: \(obstacle.problem)",
                remedy: resume == .none
                    ? obstacle.remedy
                    : "\(obstacle.remedy); a run that goes on keeps its precision: start a new run from its weights, "
                        + "with --config RUN/config.yaml --init RUN/checkpoints/STEP --precision fp32 --out NEW")
        }
        if coordinator == .dedicated, ranks < 2 {
            throw ConfigurationError.doesNotFit(
                problem: "--coordinator dedicated needs a rank that does not train, and there is only one rank",
                remedy: "start two or more (--workers 1, or mpirun -np 2), or use --coordinator inline")
        }
        let training = trainingRanks(of: ranks)
        guard batchSize >= training * accumulate else {
            let parts = accumulate == 1 ? "" : " with --accumulate \(accumulate)"
            throw ConfigurationError.doesNotFit(
                problem: "--batch-size \(batchSize) is too small for \(training) training ranks\(parts): "
                    + "each needs at least one sample a part",
                remedy: "give --batch-size \(training * accumulate) or more, or start fewer ranks")
        }
    }

    /// Checks the batch against the number of training samples: one epoch must hold at least one whole batch.
    public func validate(trainingSamples: Int) throws {
        guard batchSize <= trainingSamples else {
            throw ConfigurationError.doesNotFit(
                problem: "--batch-size \(batchSize) is larger than the \(trainingSamples) training samples of \(data)",
                remedy: "give --batch-size \(trainingSamples) or less")
        }
    }

    /// The data specification, read. Throws `DataUsageError`, with the nearest names.
    public var dataSpecification: DataSpecification {
        get throws { try DataSpecification.parse(data) }
    }

    /// The update rule with its hyper-parameters.
    public var optimizerConfiguration: OptimizerConfiguration {
        switch optimizer {
        case .sgd: .sgd(momentum: momentum, nesterov: nesterov, weightDecay: weightDecay)
        case .adam: .adam(beta1: betas.first, beta2: betas.second, epsilon: epsilon, weightDecay: weightDecay)
        case .adamw: .adamW(beta1: betas.first, beta2: betas.second, epsilon: epsilon, weightDecay: weightDecay)
        case .rmsprop:
            .rmsProp(alpha: alpha, epsilon: epsilon, momentum: momentum, centered: centered, weightDecay: weightDecay)
        case .adagrad:
            .adagrad(
                rateDecay: rateDecay, initialAccumulator: initialAccumulator, epsilon: epsilon, weightDecay: weightDecay
            )
        case .lars:
            .lars(
                momentum: momentum, nesterov: nesterov, trustCoefficient: trustCoefficient, epsilon: epsilon,
                weightDecay: weightDecay)
        case .lamb: .lamb(beta1: betas.first, beta2: betas.second, epsilon: epsilon, weightDecay: weightDecay)
        }
    }

    /// The average of the weights that is kept.
    public var averaging: WeightAveraging? {
        averageDecay.map { WeightAveraging(decay: $0, warmsUp: averageWarmsUp) }
    }

    /// Rule, scope of the decay and average, as a checkpoint records them.
    var optimizerDescription: String {
        var text = optimizerConfiguration.description
        if decay == .weights, weightDecay > 0 { text += ", decay on weights alone" }
        if let averageDecay { text += ", average \(averageDecay)\(averageWarmsUp ? " with warm-up" : "")" }
        return text
    }

    /// When a run ends before its last step.
    public var earlyStopping: EarlyStopping? {
        earlyStop.map { EarlyStopping(patience: $0, minimumDelta: minimumDelta) }
    }

    /// The course of the learning rate.
    public var learningRateSchedule: Schedule {
        let decay: Schedule.Decay =
            switch schedule {
            case .constant: .constant
            case .step: .step(stepSize: stepSize, gamma: gamma)
            case .multistep: .multistep(milestones: milestones, gamma: gamma)
            case .cosine: .cosine
            case .polynomial: .polynomial(power: power)
            case .onecycle: .oneCycle(pctStart: pctStart, divFactor: divFactor, finalDivFactor: finalDivFactor)
            case .plateau:
                .plateau(Plateau(factor: gamma, patience: patience, threshold: threshold, cooldown: cooldown))
            }
        return Schedule(base: learningRate, decay: decay, warmupEpochs: warmupEpochs)
    }

    /// How many of `ranks` train.
    public func trainingRanks(of ranks: Int) -> Int { coordinator == .dedicated ? ranks - 1 : ranks }

    /// Throws `withoutEffect` for a given setting that the others leave without effect.
    func checkEffects(of given: Set<RunSetting>) throws {
        for setting in RunSetting.allCases where given.contains(setting) {
            if let problem = effectProblem(of: setting) {
                throw ConfigurationError.withoutEffect(
                    setting: setting.rawValue, reason: problem.reason, remedy: problem.remedy)
            }
        }
    }

    /// Why a setting does nothing with the present values of the others; nil where it does something.
    func effectProblem(of setting: RunSetting) -> (reason: String, remedy: String)? {
        switch setting {
        case .momentum: unless(.sgd, .rmsprop, .lars)
        case .nesterov: unless(.sgd, .lars)
        case .betas: unless(.adam, .adamw, .lamb)
        case .alpha, .centered: unless(.rmsprop)
        case .rateDecay, .initialAccumulator: unless(.adagrad)
        case .trustCoefficient: unless(.lars)
        case .epsilon: unless(.adam, .adamw, .rmsprop, .adagrad, .lars, .lamb)
        case .decay: weightDecay > 0 ? nil : ("there is no weight decay", "give --weight-decay above 0")
        case .emaWarmup: averageDecay != nil ? nil : ("no average of the weights is kept", "give --ema")
        case .milestones: unless(.multistep)
        case .gamma: unless(.step, .multistep, .plateau)
        case .stepSize: unless(.step)
        case .power: unless(.polynomial)
        case .pctStart, .divFactor, .finalDivFactor: unless(.onecycle)
        case .patience, .threshold, .cooldown: unless(.plateau)
        case .warmupEpochs:
            schedule != .onecycle ? nil : ("the schedule onecycle has a rise of its own", "use --pct-start")
        case .monitor:
            schedule == .plateau || earlyStop != nil
                ? nil : ("evaluations decide nothing", "give --schedule plateau or --early-stop")
        case .augment, .imageSize, .skipBroken:
            specification?.isSequence != true ? nil : ("it is for images and \(data) holds sequences", "leave it out")
        case .noShuffle: specification?.isText != true ? nil : ("a text is always read in order", "leave it out")
        case .sequenceLength:
            specification?.isText == true ? nil : ("it is for texts and \(data) is none", "leave it out")
        case .traceSteps: trace != nil ? nil : ("no trace is written", "give --trace")
        case .minDelta: earlyStop != nil ? nil : ("there is no early stopping", "give --early-stop")
        default: nil
        }
    }

    /// The data specification where it can be read; `validate` says what is wrong with it.
    private var specification: DataSpecification? { try? dataSpecification }

    private func unless(_ optimizers: OptimizerName...) -> (reason: String, remedy: String)? {
        guard !optimizers.contains(optimizer) else { return nil }
        let names = Self.enumeration(optimizers.map(\.rawValue))
        return ("it belongs to \(names) and the optimizer is \(optimizer.rawValue)", "leave it out")
    }

    private func unless(_ schedules: ScheduleName...) -> (reason: String, remedy: String)? {
        guard !schedules.contains(schedule) else { return nil }
        let noun = schedules.count == 1 ? "schedule" : "schedules"
        let names = Self.enumeration(schedules.map(\.rawValue))
        return ("it belongs to the \(noun) \(names) and the schedule is \(schedule.rawValue)", "change --schedule")
    }

    /// `a`, `a and b`, `a, b and c`.
    private static func enumeration(_ names: [String]) -> String {
        names.count == 1 ? names[0] : names.dropLast().joined(separator: ", ") + " and " + names.last!
    }
}

extension Precision {
    /// Throws where this precision changes nothing of a replica that trains.
    func check(_ replica: Replica, of model: String) throws {
        guard self == .bf16, !replica.multipliesBF16 else { return }
        throw ConfigurationError.withoutEffect(
            setting: RunSetting.precision.rawValue,
            reason: "no product of \(model) is large enough to be faster in bf16"
                + (OneDNN.version == nil ? ", without oneDNN for more of the convolutions" : ""),
            remedy: "leave it out, or give another --model")
    }
}
