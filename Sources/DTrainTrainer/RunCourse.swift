import DTrainData

/// A run in numbers: which ranks train, how the batch is shared, how many steps there are and after which of them
/// something is due.
struct RunCourse {
    let trainingRanks: Int
    let sampler: Sampler
    let stepsPerEpoch: Int
    /// Samples of the smallest part of a batch that is computed at once.
    let smallestShard: Int
    /// Updates of the whole run, counted from its first start.
    let totalSteps: Int
    private let evaluationInterval: Int
    private let checkpointInterval: Int

    /// Throws `ConfigurationError` or `DataUsageError` where the settings do not fit the ranks or the samples.
    init(_ configuration: RunConfiguration, ranks: Int, feed: any Feed) throws {
        try configuration.validate()
        try configuration.validate(ranks: ranks)
        try configuration.validate(trainingSamples: feed.trainingSamples)
        try configuration.optimizerConfiguration.validate()
        try configuration.learningRateSchedule.validate()
        trainingRanks = configuration.trainingRanks(of: ranks)
        smallestShard = configuration.batchSize / (trainingRanks * configuration.accumulate)
        sampler = try feed.sampler(
            batchSize: configuration.batchSize, seed: UInt64(configuration.seed), shuffles: configuration.shuffle)
        stepsPerEpoch = sampler.batchesPerEpoch
        totalSteps = configuration.totalSteps(stepsPerEpoch: stepsPerEpoch)
        evaluationInterval = configuration.evalEvery ?? stepsPerEpoch
        checkpointInterval = configuration.checkpointEvery ?? stepsPerEpoch
    }

    /// The epoch, from 0, that the last of `step` updates belongs to.
    func epoch(ofUpdate step: Int) -> Int { max(step - 1, 0) / stepsPerEpoch }
    func isEvaluationDue(after step: Int) -> Bool { step == totalSteps || isEvaluationOnCadence(after: step) }
    /// Whether an evaluation after `step` updates belongs to the run however long it lasts.
    func isEvaluationOnCadence(after step: Int) -> Bool { step % evaluationInterval == 0 }
    func isCheckpointDue(after step: Int) -> Bool { step == totalSteps || step % checkpointInterval == 0 }
}
