import DTrainCheckpoint
import DTrainData
import DTrainEngine
import DTrainModels
import DTrainTensor
import DTrainTrainer
import Testing

/// Runs on names and on text, from the data to the checkpoint.
@Suite(.timeLimit(.minutes(5)))
struct SequenceRunTests {
    private func run(
        _ directory: ScratchDirectory, _ data: DataSpecification, model: String, ranks: Int,
        _ configure: (inout RunConfiguration) -> Void = { _ in }
    ) throws -> TestRun {
        var run = try TestRun(directory, ranks: ranks) {
            $0.model = model
            $0.data = data.description
            $0.batchSize = 6
            $0.steps = 5
            $0.sequenceLength = 12
            configure(&$0)
        }
        run.model = model
        run.opened = try data.open()
        return run
    }

    @Test(
        "The curve and the evaluation do not depend on the number of ranks", arguments: ["text-sample", "names-sample"])
    func sameCurve(data: String) throws {
        let model = data == "text-sample" ? "char-rnn" : "name-classifier"
        var expected: (losses: [Double], loss: Double)?
        for ranks in [1, 2, 4] {
            let directory = ScratchDirectory()
            let run = try run(directory, .parse(data), model: model, ranks: ranks)
            #expect(try run.complete() == .completed(step: 5))
            let evaluation = try #require(run.log.evaluations.last)
            let opened = try #require(run.opened)
            #expect(evaluation.samples == (data == "text-sample" ? opened.testCount - 1 : opened.testCount))
            let losses = run.log.losses
            #expect(Set(losses).count == 5)
            if let expected {
                expectSameCurve(losses + [evaluation.loss], expected.losses + [expected.loss])
            } else {
                expected = (losses, evaluation.loss)
            }
        }
    }

    @Test("What dropout leaves of names, which are sorted by length, depends on neither ranks nor parts")
    func sameDropout() throws {
        var expected: [Double]?
        for (ranks, parts) in [(1, 1), (2, 1), (4, 1), (1, 3), (2, 2)] {
            var run = try run(ScratchDirectory(), .namesSample, model: "name-classifier", ranks: ranks) {
                $0.accumulate = parts
            }
            run.module = { NameClassifier(classes: 10, dropout: 0.5) }
            #expect(try run.complete() == .completed(step: 5))
            expectSameCurve(run.log.losses, expected ?? run.log.losses)
            expected = expected ?? run.log.losses
        }
    }

    @Test("Evaluation of a text is the same however many streams are computed at once and however long the windows are")
    func evaluationWindows() throws {
        guard case .sequences(let pair) = try DataSpecification.textSample.open() else { return }
        var losses: [Double] = []
        for (capacity, length) in [(32, 64), (5, 64), (32, 7), (1, 500)] {
            let feed = try SequenceFeed(pair, streams: 1, sequenceLength: length)
            let entry = try #require(ModelEntry.all.first { $0.name == "char-gru" })
            let evaluation = try onEveryRank(1) { queue in
                let replica = try Replica(
                    entry.make(ModelOptions(classes: feed.classCount)), input: feed.input, capacity: capacity,
                    streams: 32,
                    pool: ThreadPool(threadCount: 1), trains: false)
                replica.initialize(seed: 2)
                return try Evaluation.run(replica, on: feed, queue: queue)
            }[0]
            #expect(evaluation.samples == 9_998)
            losses.append(evaluation.loss)
        }
        for loss in losses { #expect(abs(loss - losses[0]) < 1e-5 * losses[0], "\(losses)") }
    }

    @Test("A checkpoint says what its characters are, and another text does not go on from it")
    func remembers() throws {
        let directory = ScratchDirectory()
        var first = try run(directory, .textSample, model: "char-rnn", ranks: 1)
        try first.complete()
        let state = try Checkpoint(CheckpointStore(first.directory + "/checkpoints").path(step: 5)).state
        let sequences = try #require(state.data.sequences)
        #expect(
            state.data.images == nil && sequences.kind == .text && sequences.longest == 12 && sequences.folding == nil)
        #expect(sequences.characters.hasPrefix("\n !&',") && sequences.classNames.count == 61)
        #expect(state.samplesInEpoch == 30 && state.data.sampleCount == 89_991 / 6 / 12 * 6)
        first.configuration.resume = .auto
        first.configuration.steps = 7
        first.log = EventLog()
        #expect(try first.complete() == .completed(step: 7))
        guard case .runStarted(let started)? = first.log.events.first else { return }
        #expect(started.unit == "character" && started.trainingSamples == 89_992 && started.droppedUnits == 89_991 % 72)
    }

    @Test("Models and data of different kinds do not go together")
    func kinds() throws {
        for (data, model, message) in [
            (
                "names-sample", "char-rnn",
                "char-rnn says something at each step of a sequence, and names-sample has one label"
            ),
            (
                "text-sample", "name-classifier",
                "name-classifier says one thing of a sequence, and text-sample has a label for"
            ),
        ] {
            let run = try run(ScratchDirectory(), .parse(data), model: model, ranks: 2)
            for result in run() {
                let error = #expect(throws: SharedFailure.self) { try result.get() }
                #expect(error?.exitCode == 2 && error?.description.hasPrefix(message) == true, "\(error as Any)")
            }
        }
    }
}
