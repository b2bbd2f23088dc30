import DTrainCheckpoint
import DTrainCollectives
import DTrainData
import DTrainEngine
import DTrainEvents
import DTrainModels
import DTrainTensor
import DTrainTrainer
import Foundation
import Glibc
import Synchronization
import Testing

/// Some samples of another data set.
struct Subset: ImageDataset {
    let base: any ImageDataset
    let count: Int
    /// Samples from here on cannot be read.
    var firstUnreadable = Int.max
    var extraDigest = ""
    /// For which reading a sample sleeps.
    var readSeconds = 0.0

    var name: String { base.name }
    var split: DatasetSplit { base.split }
    var sampleShape: Shape { base.sampleShape }
    var classNames: [String] { base.classNames }
    var normalisation: Normalisation { base.normalisation }
    var digest: String { base.digest + "/\(count)" + extraDigest }
    func read(_ index: Int, into image: PixelBuffer) throws -> Int {
        if index >= firstUnreadable { throw DataError.unreadable(path: "sample \(index)", reason: "made to fail") }
        if readSeconds > 0 { usleep(UInt32(readSeconds * 1e6)) }
        return try base.read(index, into: image)
    }
}

/// 300 training and 90 test digits.
func digits(train: Int = 300, test: Int = 90, extraDigest: String = "", firstUnreadable: Int = .max) throws
    -> DatasetPair
{
    let sample = try DataSpecification.mnistSample.openImages()
    return DatasetPair(
        specification: .mnistSample,
        train: Subset(base: sample.train, count: train, firstUnreadable: firstUnreadable, extraDigest: extraDigest),
        test: Subset(base: sample.test, count: test))
}

/// A directory that goes away with its owner.
final class ScratchDirectory: Sendable {
    let path: String

    init() {
        path = NSTemporaryDirectory() + "/dtrain-trainer-" + UUID().uuidString
        try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// Remembers what a run tells, and lets a test act on it.
final class EventLog: EventSink {
    private let log = Mutex<[Event]>([])
    private let action: @Sendable (Event) -> Void

    init(_ action: @escaping @Sendable (Event) -> Void = { _ in }) { self.action = action }

    func receive(_ event: Event) {
        log.withLock { $0.append(event) }
        action(event)
    }

    var events: [Event] { log.withLock { $0 } }
    var steps: [StepCompleted] { events.compactMap { if case .step(let step) = $0 { step } else { nil } } }
    var losses: [Double] { steps.map(\.loss) }
    var evaluations: [EvaluationCompleted] {
        events.compactMap { if case .evaluation(let evaluation) = $0 { evaluation } else { nil } }
    }
    var checkpoints: [CheckpointWritten] {
        events.compactMap { if case .checkpoint(let checkpoint) = $0 { checkpoint } else { nil } }
    }
    var notices: [Notice] { events.compactMap { if case .notice(let notice) = $0 { notice } else { nil } } }
    var finished: RunFinished? { events.compactMap { if case .finished(let end) = $0 { end } else { nil } }.last }
}

/// One training run of several ranks, each on a thread of its own over an in-process group.
struct TestRun {
    var ranks = 1
    var model = "cnn-mnist"
    var directory: String
    var threads = 1
    var stallSeconds = 30.0
    /// Whether each rank is on a host of its own: by default where gradients are compressed, which they are between hosts alone.
    var isSpread: Bool
    var configuration: RunConfiguration
    var data: DatasetPair
    /// Instead of `data`.
    var opened: OpenedData?
    var log = EventLog()
    /// Listens instead of `log`.
    var sink: (any EventSink)?
    var stops: [StopFlag]
    /// What one rank has otherwise than the others.
    var differently: [Int: (inout RunConfiguration, inout DatasetPair) -> Void] = [:]
    var module: (() -> any Module)?

    init(_ directory: ScratchDirectory, ranks: Int = 1, _ configure: (inout RunConfiguration) -> Void = { _ in }) throws
    {
        self.ranks = ranks
        self.directory = directory.path + "/run"
        var configuration = RunConfiguration()
        configuration.batchSize = 24
        configuration.epochs = nil
        configuration.steps = 6
        configuration.learningRate = 0.05
        configuration.evalEvery = 1_000
        configuration.checkpointEvery = 1_000
        configuration.seed = 7
        configure(&configuration)
        self.configuration = configuration
        isSpread = configuration.compression != .none
        data = try digits()
        stops = (0..<ranks).map { _ in StopFlag() }
    }

    /// Runs all ranks; an error that is a rank's own ends the job, as the command line has it.
    func callAsFunction() -> [Result<TrainerOutcome, any Error>] {
        let group = LoopbackCommunicator.group(size: ranks, stallSeconds: stallSeconds, isSpread: isSpread)
        let results = Mutex([Result<TrainerOutcome, any Error>?](repeating: nil, count: ranks))
        let threads = (0..<ranks).map { rank in
            startThread(named: "rank") {
                let result = Result { try self.runRank(rank, group[rank]) }
                results.withLock { $0[rank] = result }
            }
        }
        for thread in threads { pthread_join(thread, nil) }
        return results.withLock { $0.map { $0! } }
    }

    private func runRank(_ rank: Int, _ communicator: LoopbackCommunicator) throws -> TrainerOutcome {
        let queue = try CommunicationQueue { communicator }
        var configuration = configuration
        var data = data
        differently[rank]?(&configuration, &data)
        let entry = try #require(ModelEntry.all.first { $0.name == model })
        let trainer = Trainer(
            configuration,
            model: TrainingModel(
                entry.name, objective: entry.objective,
                module: module?() ?? entry.make(ModelOptions(classes: opened?.classCount ?? 10))),
            data: opened ?? .images(data), queue: queue, threads: threads,
            files: RunFiles(directory: directory, configurationText: configuration.saved.yaml), events: sink ?? log,
            stop: stops[rank])
        do {
            let outcome = try trainer.run()
            try queue.close()
            return outcome
        } catch let failure as SharedFailure {
            try queue.close()
            throw failure
        } catch {
            queue.abort(code: 1)
            throw error
        }
    }

    /// Runs to the end; every rank must give the same outcome.
    @discardableResult
    func complete(sourceLocation: SourceLocation = #_sourceLocation) throws -> TrainerOutcome {
        let outcomes = try self().map { try $0.get() }
        #expect(Set(outcomes.map { "\($0)" }).count == 1, sourceLocation: sourceLocation)
        return outcomes[0]
    }

    /// The bytes of the model file of the checkpoint of `step`.
    func modelBytes(step: Int) throws -> Data {
        let path = CheckpointStore(directory + "/checkpoints").path(step: step)
        return try Data(contentsOf: URL(fileURLWithPath: path + "/model.safetensors"))
    }
}

/// Expects two loss curves to agree step by step.
func expectSameCurve(
    _ actual: [Double], _ expected: [Double], relative: Double = 2e-4, sourceLocation: SourceLocation = #_sourceLocation
) {
    guard actual.count == expected.count else {
        Issue.record("\(actual.count) losses, expected \(expected.count)", sourceLocation: sourceLocation)
        return
    }
    for step in actual.indices where !(abs(actual[step] - expected[step]) <= relative * abs(expected[step])) {
        Issue.record(
            "loss \(actual[step]) at step \(step + 1), expected \(expected[step])", sourceLocation: sourceLocation)
        return
    }
}

/// 0, 1, 2 …, one for each call, from any thread.
final class Counter: Sendable {
    private let value = Mutex(0)

    func next() -> Int {
        value.withLock { value in
            defer { value += 1 }
            return value
        }
    }
}

/// Runs `body` on each of `ranks`, each on a thread of its own with a queue of its own.
func onEveryRank<Value: Sendable>(
    _ ranks: Int, isSpread: Bool = false, _ body: @escaping @Sendable (CommunicationQueue) throws -> Value
) throws -> [Value] {
    let group = LoopbackCommunicator.group(size: ranks, stallSeconds: 30, isSpread: isSpread)
    let results = Mutex([Result<Value, any Error>?](repeating: nil, count: ranks))
    let threads = (0..<ranks).map { rank in
        startThread(named: "rank") {
            let communicator = group[rank]
            let result = Result {
                let queue = try CommunicationQueue { communicator }
                let value = try body(queue)
                try queue.close()
                return value
            }
            results.withLock { $0[rank] = result }
        }
    }
    for thread in threads { pthread_join(thread, nil) }
    return try results.withLock { try $0.map { try $0!.get() } }
}

/// Images as they are.
func imageFeed(_ data: DatasetPair) throws -> any Feed { try RunConfiguration().feed(of: .images(data)) }
