import DTrainEvents

/// The wording of progress, apart from when and where it is shown.
enum ProgressText {
    static func start(_ run: RunStarted) -> [String] {
        let accumulation = run.accumulate == 1 ? "" : " in \(run.accumulate) parts"
        let epochs = (run.totalSteps + run.stepsPerEpoch - 1) / max(1, run.stepsPerEpoch)
        var dropped =
            run.droppedSamples == 0
            ? "" : "; the last \(Formatting.count(run.droppedSamples, "sample")) of an epoch fill no batch"
        if run.droppedUnits > 0 {
            dropped += "; the last \(Formatting.count(run.droppedUnits, run.unit)) fill no sequence"
        }
        let coordinator = run.coordinator == "dedicated" ? ", one of them the coordinator" : ""
        var lines = [
            "\(run.model) (\(Formatting.count(run.parameterCount, "parameter"))) on \(run.data): "
                + "\(Formatting.whole(run.trainingSamples)) training and "
                + "\(Formatting.whole(run.testSamples)) test \(run.unit)s",
            "\(Formatting.count(run.ranks, "rank"))\(coordinator), \(Formatting.count(run.threads, "thread")) each; "
                + "batch size \(run.batchSize) over all ranks\(accumulation), learning rate \(run.learningRate)",
            "\(Formatting.count(run.totalSteps, "step")) in \(Formatting.count(epochs, "epoch"))\(dropped)",
        ]
        if let remark = run.precisionRemark { lines.append("\(run.precision): \(remark)") }
        lines.append("run directory \(run.runDirectory)")
        if let checkpoint = run.resumedFrom {
            lines.append("goes on after step \(Formatting.whole(run.firstStep)) from \(checkpoint)")
        }
        return lines
    }

    /// `epoch 2/3 [=====>    ] step 312/468  loss 0.1234  8,123 samples/s  ETA 0:12`
    static func bar(
        _ step: StepCompleted, _ run: RunStarted, samplesPerSecond: Double, eta: Double?, columns: Int, colored: Bool
    ) -> String {
        let left = epoch(step, run) + " "
        let right = " " + numbers(step, run, samplesPerSecond, eta)
        let room = min(columns - 1 - left.count - right.count - 2, 40)
        guard room >= 5 else { return String((left + right.dropFirst()).prefix(max(columns - 1, 1))) }
        let fraction = run.totalSteps == 0 ? 1 : Double(step.step) / Double(run.totalSteps)
        let filled = min(room, Int(fraction * Double(room)))
        var bar = String(repeating: "=", count: filled)
        if filled < room { bar += ">" }
        let rest = String(repeating: " ", count: room - bar.count)
        return "\(left)[\(colored ? "\u{1B}[32m\(bar)\u{1B}[0m" : bar)\(rest)]\(right)"
    }

    static func line(_ step: StepCompleted, _ run: RunStarted, samplesPerSecond: Double, eta: Double?) -> String {
        "\(epoch(step, run))  \(numbers(step, run, samplesPerSecond, eta))"
    }

    static func evaluation(_ evaluation: EvaluationCompleted) -> String {
        "epoch \(evaluation.epoch + 1)  step \(Formatting.whole(evaluation.step))  \(evaluation.split) accuracy "
            + "\(Formatting.percent(evaluation.correct, of: evaluation.samples)) "
            + "(\(Formatting.whole(evaluation.correct)) of \(Formatting.whole(evaluation.samples)))  "
            + "loss \(Formatting.decimal(evaluation.loss, 4))  "
            + (evaluation.bitsPerCharacter.map { "\(Formatting.decimal($0, 4)) bits a character  " } ?? "")
            + (evaluation.perplexity.map { "perplexity \(Formatting.decimal($0, 2))  " } ?? "")
            + Formatting.duration(evaluation.seconds)
    }

    static func checkpoint(_ checkpoint: CheckpointWritten) -> String {
        let best = checkpoint.best ? ", the best so far" : ""
        let waited =
            checkpoint.waitedSeconds < 0.05
            ? "" : "; training waited \(Formatting.duration(checkpoint.waitedSeconds)) for the one before"
        return "checkpoint \(checkpoint.path) (\(Formatting.bytes(checkpoint.byteCount)) in "
            + "\(Formatting.duration(checkpoint.seconds))\(best))\(waited)"
    }

    private static func epoch(_ step: StepCompleted, _ run: RunStarted) -> String {
        "epoch \(step.epoch + 1)/\((run.totalSteps + run.stepsPerEpoch - 1) / max(1, run.stepsPerEpoch))"
    }

    private static func numbers(
        _ step: StepCompleted, _ run: RunStarted, _ samplesPerSecond: Double, _ eta: Double?
    ) -> String {
        "step \(step.step)/\(run.totalSteps)  loss \(Formatting.decimal(step.loss, 4))  "
            + "\(Formatting.rate(samplesPerSecond)) samples/s  ETA \(eta.map(Formatting.clock) ?? "–")"
    }
}
