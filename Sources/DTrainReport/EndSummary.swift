import DTrainEvents

/// What a person reads when a run has ended: the result, the speed, where everything lies, and what to do next.
package struct EndSummary: Sendable {
    package var finished: RunFinished
    package var runDirectory: String
    /// Complete commands for this machine, each with what it does.
    package var nextCommands: [(purpose: String, command: String)]

    package init(
        finished: RunFinished, runDirectory: String, nextCommands: [(purpose: String, command: String)]
    ) {
        self.finished = finished
        self.runDirectory = runDirectory
        self.nextCommands = nextCommands
    }

    /// The result alone, on one line.
    package var resultLine: String {
        guard let evaluation = finished.evaluation else { return "no evaluation" }
        return "\(evaluation.split) accuracy \(Formatting.percent(evaluation.correct, of: evaluation.samples)) "
            + "(\(Formatting.whole(evaluation.correct)) of \(Formatting.whole(evaluation.samples))), "
            + "loss \(Formatting.decimal(evaluation.loss, 4))"
    }

    /// The whole summary, with a newline at the end of each line.
    package var text: String {
        var lines = [
            "result         \(resultLine)",
            "throughput     \(Formatting.rate(finished.samplesPerSecond)) samples/s while training",
            "time           \(Formatting.duration(finished.seconds)), of it "
                + "\(Formatting.duration(finished.trainingSeconds)) training; "
                + "\(Formatting.count(finished.step, "step")) in all",
            "run directory  \(runDirectory)",
        ]
        if let checkpoint = finished.checkpoint { lines.append("checkpoint     \(checkpoint)") }
        lines.append("metrics        \(runDirectory)/metrics.jsonl")
        lines.append("configuration  \(runDirectory)/config.yaml")
        for (purpose, command) in nextCommands { lines.append("\(purpose):\n  \(command)") }
        return lines.map { $0 + "\n" }.joined()
    }
}
