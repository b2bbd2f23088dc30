import DTrainEvents
import DTrainReport
import DTrainTrainer
import Foundation
import Synchronization
import DTrainTensor

/// Rank 0's listeners of a run: progress on standard error, `metrics.jsonl`, and what the end summary needs.
final class RunReporter: EventSink {
    private struct State {
        var metrics: MetricsWriter?
        var finished: RunFinished?
        var started: RunStarted?
    }

    private let progress: ProgressSink
    private let state = Mutex(State())

    init(_ configuration: RunConfiguration) {
        let terminal = Terminal.watchingStandardError()
        let columns = terminal?.columns ?? 80
        let style: ProgressSink.Style =
            switch configuration.progress {
            case .auto: terminal == nil ? .lines : .bar(columns: columns)
            case .bar: .bar(columns: columns)
            case .lines: .lines
            case .none: .none
            }
        progress = ProgressSink(
            style: style, quiet: configuration.quiet, colored: terminal?.colored ?? false, now: monotonicSeconds,
            write: Console.diagnostic)
    }

    func receive(_ event: Event) {
        progress.receive(event)
        let metrics: MetricsWriter? = state.withLock { state in
            switch event {
            case .runStarted(let run):
                state.started = run
                state.metrics = openMetrics(run)
            case .finished(let finished): state.finished = finished
            default: break
            }
            return state.metrics
        }
        metrics?.receive(event)
    }

    /// The run directory is in order now. A file that cannot be opened costs the metrics, not the run.
    private func openMetrics(_ run: RunStarted) -> MetricsWriter? {
        let warn: @Sendable (String) -> Void = { [progress] in progress.receive(.notice(Notice(.warning, $0))) }
        do {
            return try MetricsWriter(
                path: run.runDirectory + "/metrics.jsonl", keepingSteps: run.firstStep, onFailure: warn)
        } catch {
            warn("\(error)")
            return nil
        }
    }

    /// Whether the run has come to an end before its last step.
    var endedEarly: Bool {
        state.withLock { state in
            guard let finished = state.finished, let started = state.started else { return false }
            return finished.step < started.totalSteps
        }
    }

    /// What a person reads at the end; nil where the run did not come to one.
    func summary(nextCommands: [(purpose: String, command: String)]) -> EndSummary? {
        state.withLock { state in
            guard let finished = state.finished, let started = state.started else { return nil }
            return EndSummary(
                finished: finished, runDirectory: started.runDirectory, nextCommands: nextCommands)
        }
    }
}
