import DTrainCollectives
import DTrainData
import DTrainEvents

/// The steps of a run on one training rank.
struct TrainingLoop {
    let context: RunContext
    let start: StartPoint
    let coordination: any Coordination

    func run() throws -> TrainerOutcome {
        let course = context.course
        let configuration = context.configuration
        let step = TrainingStep(
            replica: context.replica, optimizer: context.optimizer,
            rule: TrainingStep.Rule(
                schedule: configuration.learningRateSchedule, clipNorm: configuration.clipNorm,
                stepsPerEpoch: course.stepsPerEpoch, totalSteps: course.totalSteps, seed: UInt64(configuration.seed)),
            shardCount: context.shards.count, queue: context.queue, group: context.group, pool: context.pool,
            stop: context.stop)
        let loader = DataLoader.training(
            dataset: context.data.train, sampler: course.sampler, shards: context.shards,
            steps: start.step..<max(start.step, course.totalSteps), transforms: context.transforms.training,
            threadCount: configuration.loaderThreads)
        defer { loader.stop() }

        var ending = Ending(step: start.step, stop: nil, samples: 0, trainingSeconds: 0)
        guard start.step < course.totalSteps else {
            try milestone(step: start.step, evaluate: true, save: false)
            try coordination.end(ending)
            return .alreadyComplete(step: start.step)
        }
        while ending.step < course.totalSteps && ending.stop == nil {
            let before = now()
            let waited = loader.waitedSeconds
            step.begin(step: ending.step)
            for _ in context.shards.indices {
                guard let batch = try loader.next() else { preconditionFailure("the loader ended before the run") }
                step.add(batch.images, labels: batch.labels, firstPosition: batch.firstPosition)
            }
            let result = try step.finish()
            if let refusal = result.refusal {
                try fail(Failure(kind: refusal == .loss ? .loss : .gradient, step: ending.step, loss: result.loss))
            }
            let seconds = now() - before
            ending.step += 1
            ending.samples += configuration.batchSize
            ending.trainingSeconds += seconds
            if context.group.rank == 0 {
                try coordination.report(
                    StepCompleted(
                        step: ending.step, epoch: course.epoch(ofUpdate: ending.step), loss: result.loss,
                        learningRate: result.learningRate, samplesPerSecond: Double(configuration.batchSize) / seconds,
                        communicationExposedSeconds: result.exposedSeconds,
                        dataWaitSeconds: loader.waitedSeconds - waited,
                        gradientNorm: result.gradientNorm.isNaN ? nil : result.gradientNorm))
            }
            // At the last step there is nothing left to stop.
            if ending.step < course.totalSteps { ending.stop = result.stop }
            try keep(ending)
        }
        try coordination.end(ending)
        if let stop = ending.stop { return .stopped(step: ending.step, reason: stop.name) }
        return .completed(step: ending.step)
    }

    /// Evaluates and saves what is due. Whoever was asked to stop saves and leaves: a signal may be followed by a kill.
    private func keep(_ ending: Ending) throws {
        let stops = ending.stop != nil
        let evaluate = !stops && context.course.isEvaluationDue(after: ending.step)
        let save = stops || context.course.isCheckpointDue(after: ending.step)
        if evaluate || save { try milestone(step: ending.step, evaluate: evaluate, save: save) }
    }

    private func milestone(step: Int, evaluate: Bool, save: Bool) throws {
        do {
            try coordination.milestone(step: step, evaluate: evaluate, save: save)
        } catch let state as UnusableState {
            try fail(Failure(kind: state.kind, step: step, loss: state.loss))
        }
    }

    private func fail(_ failure: Failure) throws -> Never {
        try coordination.fail(failure)
        throw SharedFailure(failure.error(checkpoint: coordination.newestCheckpoint))
    }
}
