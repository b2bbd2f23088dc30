import DTrainEvents

extension Event {
    /// The event as an object of `metrics.jsonl`, keys in snake case; every one has `event`, and all but notices `step`.
    package var json: JSONObject {
        switch self {
        case .runStarted(let run): run.json
        case .step(let step): step.json
        case .evaluation(let evaluation): evaluation.json
        case .checkpoint(let checkpoint): checkpoint.json
        case .notice(let notice): notice.json
        case .stopped(let stopped): stopped.json
        case .finished(let finished): finished.json
        }
    }
}

extension RunStarted {
    var json: JSONObject {
        var object = JSONObject(event: "start")
        object.add("step", firstStep)
        object.add("model", model)
        object.add("parameters", parameterCount)
        object.add("data", data)
        object.add("training_samples", trainingSamples)
        object.add("test_samples", testSamples)
        object.add("ranks", ranks)
        object.add("training_ranks", trainingRanks)
        object.add("threads", threads)
        object.add("coordinator", coordinator)
        object.add("batch_size", batchSize)
        object.add("accumulate", accumulate)
        object.add("lr", learningRate)
        object.add("precision", precision)
        object.add("steps_per_epoch", stepsPerEpoch)
        object.add("total_steps", totalSteps)
        object.add("dropped_samples", droppedSamples)
        if unit != "sample" { object.add("dropped_\(unit)s", droppedUnits) }
        object.add("resumed_from", resumedFrom)
        return object
    }
}

extension StepCompleted {
    var json: JSONObject {
        var object = JSONObject(event: "step")
        object.add("step", step)
        object.add("epoch", epoch)
        object.add("loss", loss)
        object.add("lr", learningRate)
        object.add("samples_per_second", samplesPerSecond)
        object.add("communication_exposed_seconds", communicationExposedSeconds)
        object.add("data_wait_seconds", dataWaitSeconds)
        object.add("gradient_norm", gradientNorm)
        return object
    }
}

extension EvaluationCompleted {
    /// Also what `dtrain evaluate --json` prints.
    package var json: JSONObject {
        var object = JSONObject(event: "eval")
        object.add("step", step)
        object.add("epoch", epoch)
        object.add("split", split)
        object.add("loss", loss)
        object.add("top1", top1)
        object.add("top5", top5)
        object.add("correct", correct)
        object.add("samples", samples)
        object.add("seconds", seconds)
        if let perplexity { object.add("perplexity", perplexity) }
        if let bitsPerCharacter { object.add("bits_per_character", bitsPerCharacter) }
        return object
    }
}

extension CheckpointWritten {
    var json: JSONObject {
        var object = JSONObject(event: "checkpoint")
        object.add("step", step)
        object.add("path", path)
        object.add("seconds", seconds)
        object.add("bytes", byteCount)
        object.add("best", best)
        object.add("waited_seconds", waitedSeconds)
        return object
    }
}

extension Notice {
    var json: JSONObject {
        var object = JSONObject(event: level == .warning ? "warning" : "notice")
        object.add("message", message)
        return object
    }
}

extension RunStopped {
    var json: JSONObject {
        var object = JSONObject(event: "stopped")
        object.add("step", step)
        object.add("reason", reason)
        return object
    }
}

extension RunFinished {
    var json: JSONObject {
        var object = JSONObject(event: "finished")
        object.add("step", step)
        object.add("samples", samples)
        object.add("seconds", seconds)
        object.add("training_seconds", trainingSeconds)
        object.add("samples_per_second", samplesPerSecond)
        object.add("top1", evaluation?.top1)
        object.add("checkpoint", checkpoint)
        return object
    }
}
