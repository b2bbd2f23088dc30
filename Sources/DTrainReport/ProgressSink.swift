import DTrainEvents
import Synchronization

/// Shows a person how training goes: a bar that is redrawn in place, or plain lines, with evaluations, checkpoints and
/// warnings as lines between.
package final class ProgressSink: EventSink {
    package enum Style: Sendable, Equatable {
        /// One line, redrawn in place at most ten times a second, for a terminal of that many columns.
        case bar(columns: Int)
        /// A line after the first step and then at most every ten seconds.
        case lines
        /// No steps at all.
        case none
    }

    private struct State {
        var run: RunStarted?
        var lastShown = -Double.infinity
        var lastStepTime: Double?
        /// Smoothed over the last steps.
        var secondsPerStep: Double?
        var samplesPerSecond: Double?
        var barIsDrawn = false
    }

    /// At most ten redraws a second.
    static let redrawInterval = 0.1
    static let lineInterval = 10.0

    private let style: Style
    private let quiet: Bool
    private let colored: Bool
    private let now: @Sendable () -> Double
    private let write: @Sendable (String) -> Void
    private let state = Mutex(State())

    /// - Parameters:
    ///   - quiet: shows warnings only.
    ///   - colored: whether the terminal shows colours and the user has not set `NO_COLOR`.
    ///   - now: a clock in seconds that never goes back.
    ///   - write: takes text for standard error, newlines included.
    package init(
        style: Style, quiet: Bool, colored: Bool, now: @escaping @Sendable () -> Double,
        write: @escaping @Sendable (String) -> Void
    ) {
        self.style = style
        self.quiet = quiet
        self.colored = colored
        self.now = now
        self.write = write
    }

    package func receive(_ event: Event) {
        state.withLock { state in
            switch event {
            case .runStarted(let run):
                state.run = run
                state.lastStepTime = now()
                if !quiet { show(ProgressText.start(run), in: &state) }
            case .step(let step): receive(step, &state)
            case .evaluation(let evaluation):
                state.lastStepTime = nil
                if !quiet { show([ProgressText.evaluation(evaluation)], in: &state) }
            case .checkpoint(let checkpoint):
                if !quiet { show([ProgressText.checkpoint(checkpoint)], in: &state) }
            case .notice(let notice):
                if notice.level == .warning {
                    show(
                        [colored ? "\u{1B}[33mwarning:\u{1B}[0m \(notice.message)" : "warning: \(notice.message)"],
                        in: &state)
                } else if !quiet {
                    show([notice.message], in: &state)
                }
            case .stopped(let stopped):
                show(["stopped by \(stopped.reason) after step \(Formatting.whole(stopped.step))"], in: &state)
            case .finished: clearBar(&state)
            }
        }
    }

    private func receive(_ step: StepCompleted, _ state: inout State) {
        let time = now()
        if let last = state.lastStepTime {
            state.secondsPerStep = Self.smooth(state.secondsPerStep, time - last)
        }
        state.lastStepTime = time
        state.samplesPerSecond = Self.smooth(state.samplesPerSecond, step.samplesPerSecond)
        guard !quiet, let run = state.run else { return }
        let isLast = step.step >= run.totalSteps
        switch style {
        case .none: return
        case .bar(let columns):
            guard isLast || time - state.lastShown >= Self.redrawInterval else { return }
            let line = ProgressText.bar(
                step, run, samplesPerSecond: state.samplesPerSecond ?? 0, eta: eta(step, run, state),
                columns: columns, colored: colored)
            write("\r\(line)\u{1B}[K")
            state.barIsDrawn = true
        case .lines:
            guard isLast || time - state.lastShown >= Self.lineInterval else { return }
            write(
                ProgressText.line(
                    step, run, samplesPerSecond: state.samplesPerSecond ?? 0, eta: eta(step, run, state)) + "\n")
        }
        state.lastShown = time
    }

    private func eta(_ step: StepCompleted, _ run: RunStarted, _ state: State) -> Double? {
        state.secondsPerStep.map { $0 * Double(run.totalSteps - step.step) }
    }

    private func show(_ lines: [String], in state: inout State) {
        clearBar(&state)
        write(lines.map { $0 + "\n" }.joined())
    }

    private func clearBar(_ state: inout State) {
        if state.barIsDrawn { write("\r\u{1B}[K") }
        state.barIsDrawn = false
        state.lastShown = min(state.lastShown, now() - Self.redrawInterval)
    }

    /// An exponential average that follows over some twenty steps.
    private static func smooth(_ average: Double?, _ value: Double) -> Double {
        average.map { $0 + 0.05 * (value - $0) } ?? value
    }
}
