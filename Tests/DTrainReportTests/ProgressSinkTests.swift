import DTrainEvents
import DTrainReport
import Synchronization
import Testing

@Suite struct ProgressSinkTests {
    /// A sink whose clock the test moves and whose output it reads.
    final class Stage: Sendable {
        let time = Mutex(0.0)
        let written = Mutex("")

        func sink(_ style: ProgressSink.Style, quiet: Bool = false, colored: Bool = false) -> ProgressSink {
            ProgressSink(
                style: style, quiet: quiet, colored: colored, now: { self.time.withLock { $0 } },
                write: { text in self.written.withLock { $0 += text } })
        }

        /// What was written since the last call.
        func take() -> String {
            written.withLock { text in
                defer { text = "" }; return text
            }
        }
        func advance(_ seconds: Double) { time.withLock { $0 += seconds } }
    }

    static func run(totalSteps: Int = 468) -> RunStarted {
        RunStarted(
            model: "cnn-mnist", parameterCount: 8490, data: "mnist-sample", trainingSamples: 10_000, testSamples: 2_000,
            ranks: 2, trainingRanks: 2, threads: 1, coordinator: "inline", batchSize: 64, accumulate: 1,
            learningRate: 0.01, stepsPerEpoch: 156, totalSteps: totalSteps, droppedSamples: 16, precision: "bf16",
            precisionRemark: "fast here",
            runDirectory: "runs/x")
    }

    static func step(_ number: Int) -> Event {
        .step(
            StepCompleted(
                step: number, epoch: (number - 1) / 156, loss: 0.12345, learningRate: 0.01, samplesPerSecond: 8123))
    }

    @Test func theStartTellsModelDataRanksAndWhatIsLeftOut() {
        let stage = Stage()
        stage.sink(.lines).receive(.runStarted(Self.run()))
        #expect(
            stage.take() == """
                cnn-mnist (8,490 parameters) on mnist-sample: 10,000 training and 2,000 test samples
                2 ranks, 1 thread each; batch size 64 over all ranks, learning rate 0.01
                468 steps in 3 epochs; the last 16 samples of an epoch fill no batch
                bf16: fast here
                run directory runs/x

                """)
    }

    @Test func theBarShowsEpochStepLossRateAndTimeLeft() {
        let stage = Stage()
        let sink = stage.sink(.bar(columns: 100))
        sink.receive(.runStarted(Self.run()))
        _ = stage.take()
        stage.advance(0.5)
        sink.receive(Self.step(234))
        #expect(
            stage.take() == "\repoch 2/3 [=================>                ] step 234/468  loss 0.1235  "
                + "8,123 samples/s  ETA 1:57\u{1B}[K")
    }

    @Test(arguments: [20, 60, 80, 300]) func theBarNeverWrapsTheLine(columns: Int) {
        let stage = Stage()
        let sink = stage.sink(.bar(columns: columns))
        sink.receive(.runStarted(Self.run()))
        _ = stage.take()
        stage.advance(1)
        sink.receive(Self.step(467))
        let visible = stage.take().replacing("\r", with: "").replacing("\u{1B}[K", with: "")
        #expect(!visible.isEmpty && visible.count < columns)
    }

    @Test func theBarIsRedrawnAtMostTenTimesASecondAndAtTheEnd() {
        let stage = Stage()
        let sink = stage.sink(.bar(columns: 80))
        sink.receive(.runStarted(Self.run()))
        _ = stage.take()
        var drawn = 0
        for number in 1...100 {
            stage.advance(0.01)
            sink.receive(Self.step(number))
            if !stage.take().isEmpty { drawn += 1 }
        }
        #expect((9...10).contains(drawn))
        sink.receive(Self.step(468))
        #expect(stage.take().contains("step 468/468"))
    }

    @Test func linesBetweenBarsStandOnALineOfTheirOwn() {
        let stage = Stage()
        let sink = stage.sink(.bar(columns: 80))
        sink.receive(.runStarted(Self.run()))
        sink.receive(Self.step(156))
        _ = stage.take()
        sink.receive(
            .evaluation(
                EvaluationCompleted(
                    step: 156, epoch: 0, split: "test", loss: 0.25, correct: 1999, correctTop5: 2000, samples: 2000,
                    seconds: 0.5)))
        #expect(
            stage.take()
                == "\r\u{1B}[Kepoch 1  step 156  test accuracy 99.95 % (1,999 of 2,000)  loss 0.2500  0.50 s\n")
        sink.receive(
            .evaluation(
                EvaluationCompleted(
                    step: 156, epoch: 0, split: "test", loss: 1.5, correct: 1000, correctTop5: 2000, samples: 2000,
                    seconds: 0.5, countsCharacters: true)))
        #expect(
            stage.take()
                == "epoch 1  step 156  test accuracy 50.00 % (1,000 of 2,000)  loss 1.5000  2.1640 bits a character  "
                + "perplexity 4.48  0.50 s\n")
        sink.receive(
            .checkpoint(
                CheckpointWritten(step: 156, path: "runs/x/c", seconds: 0.02, byteCount: 87_400, best: true)))
        #expect(stage.take() == "checkpoint runs/x/c (87.4 kB in 0.02 s, the best so far)\n")
    }

    @Test func whereNobodyWatchesALineComesAtOnceAndThenEveryTenSeconds() {
        let stage = Stage()
        let sink = stage.sink(.lines)
        sink.receive(.runStarted(Self.run(totalSteps: 100)))
        _ = stage.take()
        for number in 1...100 {
            stage.advance(0.3)
            sink.receive(Self.step(number))
        }
        let lines = stage.take().split(separator: "\n")
        #expect(lines.count == 4)
        #expect(lines.first == "epoch 1/1  step 1/100  loss 0.1235  8,123 samples/s  ETA 0:30")
        #expect(lines.last == "epoch 1/1  step 100/100  loss 0.1235  8,123 samples/s  ETA 0:00")
        #expect(lines.allSatisfy { !$0.contains("\u{1B}") })
    }

    @Test func quietShowsWarningsAndTheReasonOfAStopOnly() {
        let stage = Stage()
        let sink = stage.sink(.lines, quiet: true)
        sink.receive(.runStarted(Self.run()))
        sink.receive(Self.step(1))
        sink.receive(.notice(Notice(.info, "nothing")))
        sink.receive(.notice(Notice(.warning, "something")))
        sink.receive(.stopped(RunStopped(step: 7, reason: "SIGTERM")))
        #expect(stage.take() == "warning: something\nstopped by SIGTERM after step 7\n")
    }

    @Test func coloursAppearOnlyWhereTheyAreWanted() {
        for colored in [false, true] {
            let stage = Stage()
            let sink = stage.sink(.bar(columns: 100), colored: colored)
            sink.receive(.runStarted(Self.run()))
            sink.receive(.notice(Notice(.warning, "w")))
            sink.receive(Self.step(1))
            #expect(stage.take().contains("m") && stage.written.withLock { $0 }.isEmpty)
            stage.advance(1)
            sink.receive(Self.step(2))
            #expect(stage.take().contains("\u{1B}[32m") == colored)
        }
    }

    @Test func theSummaryTellsResultSpeedPlacesAndTheNextCommand() {
        let evaluation = EvaluationCompleted(
            step: 468, epoch: 2, split: "test", loss: 0.0871, correct: 1946, correctTop5: 2000, samples: 2000,
            seconds: 0.2)
        let finished = RunFinished(
            step: 468, samples: 29_952, seconds: 4.1, trainingSeconds: 3.7, samplesPerSecond: 8095.1,
            evaluation: evaluation, checkpoint: "runs/x/checkpoints/step-00000468")
        let summary = EndSummary(
            finished: finished, runDirectory: "runs/x", nextCommands: [("to go on", "dtrain train --resume auto")])
        #expect(
            summary.text == """
                result         test accuracy 97.30 % (1,946 of 2,000), loss 0.0871
                throughput     8,095 samples/s while training
                time           4.10 s, of it 3.70 s training; 468 steps in all
                run directory  runs/x
                checkpoint     runs/x/checkpoints/step-00000468
                metrics        runs/x/metrics.jsonl
                configuration  runs/x/config.yaml
                to go on:
                  dtrain train --resume auto

                """)
    }
}
