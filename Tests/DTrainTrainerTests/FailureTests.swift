import DTrainCheckpoint
import DTrainCollectives
import DTrainData
import DTrainEvents
import DTrainLayers
import DTrainTensor
import DTrainTrainer
import Foundation
import Testing

/// What goes wrong ends the run on every rank, says what it was, and costs no checkpoint.
@Suite(.timeLimit(.minutes(5)))
struct FailureTests {
    /// The failure that all ranks must have thrown together; rank 0's.
    private func sharedFailure(
        _ run: TestRun, exitCode: Int32, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> SharedFailure {
        let failures = try run().map { result in
            let error = #expect(throws: SharedFailure.self, sourceLocation: sourceLocation) { try result.get() }
            return try #require(error, sourceLocation: sourceLocation)
        }
        for failure in failures { #expect(failure.exitCode == exitCode, "\(failure)", sourceLocation: sourceLocation) }
        return failures[0]
    }

    @Test(
        "A loss that is not finite ends all ranks with code 6 before the update, and names the checkpoint that stays",
        arguments: [false, true])
    func lossNotFinite(dedicated: Bool) throws {
        let directory = ScratchDirectory()
        let run = try TestRun(directory, ranks: 3) {
            $0.learningRate = 1e20
            $0.momentum = 0
            $0.checkpointEvery = 1
            $0.coordinator = dedicated ? .dedicated : .inline
        }
        let failure = try sharedFailure(run, exitCode: 6)
        let (newest, skipped) = try CheckpointStore(run.directory + "/checkpoints").newestValid()
        let checkpoint = try #require(newest)
        #expect(skipped.isEmpty)
        guard case .lossNotFinite(let step, _, let named) = failure.underlying as? TrainerError else {
            Issue.record("\(failure)")
            return
        }
        #expect(named == checkpoint.path)
        #expect(checkpoint.state.step == step)
        let floats = try SafetensorsFile(checkpoint.modelPath).tensors().flatMap { $0.floats.array() }
        #expect(floats.allSatisfy { $0.isFinite })
    }

    @Test("Parameters that are not finite never reach a checkpoint", arguments: [false, true])
    func parametersNotFinite(dedicated: Bool) throws {
        let directory = ScratchDirectory()
        let run = try TestRun(directory, ranks: 2) {
            $0.learningRate = 1e39
            $0.momentum = 0
            $0.checkpointEvery = 1
            $0.coordinator = dedicated ? .dedicated : .inline
        }
        let failure = try sharedFailure(run, exitCode: 6)
        #expect(failure.underlying as? TrainerError == .parametersNotFinite(step: 1, checkpoint: nil))
        #expect(try CheckpointStore(run.directory + "/checkpoints").steps().isEmpty)
    }

    @Test("A rank with another setting: every rank leaves with code 2, and the message names setting, rank and host")
    func otherSetting() throws {
        let directory = ScratchDirectory()
        var run = try TestRun(directory, ranks: 3)
        run.differently[2] = { configuration, _ in configuration.learningRate = 0.06 }
        let failure = try sharedFailure(run, exitCode: 2)
        #expect(failure.description.contains("--lr is '0.06' on rank 2 (loopback) but '0.05' on rank 0"), "\(failure)")
        #expect(!FileManager.default.fileExists(atPath: run.directory))
    }

    @Test("A rank with other data: every rank leaves with code 3, and the message names the rank")
    func otherData() throws {
        let directory = ScratchDirectory()
        var run = try TestRun(directory, ranks: 2)
        let other = try digits(extraDigest: "other")
        run.differently[1] = { _, data in data = other }
        let failure = try sharedFailure(run, exitCode: 3)
        #expect(failure.description.contains("rank 1 (loopback) has other data than rank 0"), "\(failure)")
    }

    @Test("A rank with another model: every rank leaves with code 2, and the message shows the first difference")
    func otherModel() throws {
        final class Small: Module {
            let fc: Linear
            init(bias: Bool) { fc = Linear(10, bias: bias) }
            func callAsFunction(_ x: Value) -> Value { fc(flatten(x)) }
        }
        let directory = ScratchDirectory()
        var run = try TestRun(directory, ranks: 2)
        let made = Counter()
        run.module = { Small(bias: made.next() == 0) }
        let failure = try sharedFailure(run, exitCode: 2)
        #expect(failure.description.contains("has another model than rank 0: "), "\(failure)")
    }

    @Test("A batch smaller than the training ranks, a dedicated coordinator alone, a run directory in use: code 2")
    func wrongUsage() throws {
        let directory = ScratchDirectory()
        let small = try TestRun(directory, ranks: 4) { $0.batchSize = 3 }
        #expect(try sharedFailure(small, exitCode: 2).description.contains("--batch-size 3 is too small for 4"))
        let parts = try TestRun(directory, ranks: 4) {
            $0.batchSize = 11
            $0.accumulate = 4
            $0.coordinator = .dedicated
        }
        #expect(try sharedFailure(parts, exitCode: 2).description.contains("3 training ranks with --accumulate 4"))
        let alone = try TestRun(directory) { $0.coordinator = .dedicated }
        #expect(try sharedFailure(alone, exitCode: 2).description.contains("there is only one rank"))
        let run = try TestRun(directory, ranks: 2) { $0.steps = 1 }
        try run.complete()
        #expect(
            try sharedFailure(run, exitCode: 2).underlying as? TrainerError
                == .runDirectoryNotEmpty(path: run.directory))
    }

    @Test(
        "A rank that cannot read its data fails alone with its own error; the others end too", arguments: [false, true])
    func rankFailsAlone(dedicated: Bool) throws {
        let directory = ScratchDirectory()
        var run = try TestRun(directory, ranks: 3) {
            $0.steps = 100
            $0.coordinator = dedicated ? .dedicated : .inline
        }
        // The same digest, so that the comparison at the start finds nothing.
        let unreadable = try digits(firstUnreadable: 200)
        run.differently[2] = { _, data in data = unreadable }
        let start = Date()
        let results = run()
        let error = #expect(throws: DataError.self) { try results[2].get() }
        if case .unreadable(_, let reason)? = error {
            #expect(reason == "made to fail")
        } else {
            Issue.record("\(error)")
        }
        for result in results[0..<2] { #expect(throws: CommunicationError.self) { try result.get() } }
        #expect(-start.timeIntervalSinceNow < 20)
    }

    @Test(
        "A checkpoint that cannot be written ends rank 0 with that error, also while it only coordinates",
        arguments: [false, true])
    func unwritableCheckpoint(dedicated: Bool) throws {
        let directory = ScratchDirectory()
        var run = try TestRun(directory, ranks: 2) {
            $0.steps = 100_000
            $0.checkpointEvery = 5
            $0.coordinator = dedicated ? .dedicated : .inline
        }
        let checkpoints = run.directory + "/checkpoints"
        run.log = EventLog {
            guard case .runStarted = $0 else { return }
            try! FileManager.default.removeItem(atPath: checkpoints)
            try! Data().write(to: URL(fileURLWithPath: checkpoints))
        }
        let results = run()
        #expect(throws: CheckpointError.self) { try results[0].get() }
        #expect(throws: CommunicationError.self) { try results[1].get() }
    }
}
