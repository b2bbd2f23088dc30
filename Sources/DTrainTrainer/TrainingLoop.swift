import DTrainCollectives
import DTrainData
import DTrainEngine
import DTrainEvents
import DTrainTensor

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
            stop: context.stop, residual: context.residuals.own)
        let loader = context.feed.training(
            course.sampler, shards: context.shards, steps: start.step..<max(start.step, course.totalSteps),
            threadCount: configuration.loaderThreads)
        defer { loader.stop() }
        step.observer = context.trace
        loader.observe(with: context.trace)

        var ending = Ending(step: start.step, stop: nil, samples: 0, trainingSeconds: 0)
        let steering = Steering(configuration, decisions: start.decisions)
        guard start.step < course.totalSteps && !steering.verdict.ends else {
            _ = try milestone(step: start.step, evaluate: true, save: false)
            try coordination.end(ending)
            return .alreadyComplete(step: start.step)
        }
        step.rateFactor = steering.verdict.rateFactor
        if steering.lacksEvaluation(after: start.step, course: course) {
            follow(try milestone(step: start.step, evaluate: true, save: false), step, &ending)
        }
        while ending.step < course.totalSteps && ending.stop == nil && !ending.isEarly {
            let begin = monotonicNanoseconds()
            let waited = loader.waitedSeconds
            step.begin(step: ending.step)
            for _ in context.shards.indices {
                let waitStart = monotonicNanoseconds()
                guard let batch = try loader.next() else { preconditionFailure("the loader ended before the run") }
                context.trace?.ran(.data, from: waitStart, to: monotonicNanoseconds())
                // An epoch of streams begins, and nothing is carried over from the last one.
                if context.feed.isStream, batch.item.batch == 0, batch.item.shard == context.shards[0] {
                    context.replica.resetCarriedState()
                }
                step.add(
                    Replica.Inputs(batch), labels: batch.labels, firstPosition: batch.firstPosition,
                    mixing: batch.partners)
            }
            let result = try step.finish()
            if let refusal = result.refusal {
                try fail(Failure(kind: refusal == .loss ? .loss : .gradient, step: ending.step, loss: result.loss))
            }
            let end = monotonicNanoseconds()
            let seconds = Double(end - begin) * 1e-9
            context.trace?.stepped(ending.step + 1, from: begin, to: end)
            ending.step += 1
            ending.samples += configuration.batchSize
            ending.trainingSeconds += seconds
            if context.group.rank == 0 {
                try coordination.report(
                    StepCompleted(
                        step: ending.step, epoch: course.epoch(ofUpdate: ending.step), loss: result.loss,
                        learningRate: result.learningRate, samplesPerSecond: Double(configuration.batchSize) / seconds,
                        communicationExposedSeconds: result.exchange?.exposedSeconds ?? 0,
                        dataWaitSeconds: loader.waitedSeconds - waited,
                        gradientNorm: result.gradientNorm.isNaN ? nil : result.gradientNorm))
            }
            // At the last step there is nothing left to stop.
            if ending.step < course.totalSteps { ending.stop = result.stop }
            if let verdict = try keep(ending) { follow(verdict, step, &ending) }
            if let trace = context.trace, ending.step - start.step == configuration.traceSteps {
                step.observer = nil
                loader.observe(with: nil)
                // A dedicated coordinator does not come here: the file has to wait for the end.
                if configuration.coordinator == .inline { try trace.write() } else { trace.end() }
            }
        }
        try coordination.end(ending)
        if let stop = ending.stop { return .stopped(step: ending.step, reason: stop.name) }
        return .completed(step: ending.step)
    }

    /// Evaluates and saves what is due. Whoever was asked to stop saves and leaves: a signal may be followed by a kill.
    private func keep(_ ending: Ending) throws -> Steering.Verdict? {
        let stops = ending.stop != nil
        let evaluate = !stops && context.course.isEvaluationDue(after: ending.step)
        let save = stops || context.course.isCheckpointDue(after: ending.step)
        guard evaluate || save else { return nil }
        return try milestone(step: ending.step, evaluate: evaluate, save: save)
    }

    /// Does from the next step on what evaluations have decided.
    private func follow(_ verdict: Steering.Verdict, _ step: TrainingStep, _ ending: inout Ending) {
        step.rateFactor = verdict.rateFactor
        ending.isEarly = verdict.ends && ending.step < context.course.totalSteps && ending.stop == nil
    }

    private func milestone(step: Int, evaluate: Bool, save: Bool) throws -> Steering.Verdict {
        try context.carriedState.share(
            over: context.group, of: context.queue, accumulation: context.configuration.accumulate)
        do {
            return try coordination.milestone(step: step, evaluate: evaluate, save: save)
        } catch let state as UnusableState {
            try fail(Failure(kind: state.kind, step: step, loss: state.loss))
        }
    }

    private func fail(_ failure: Failure) throws -> Never {
        try coordination.fail(failure)
        throw SharedFailure(failure.error(checkpoint: coordination.newestCheckpoint))
    }
}
