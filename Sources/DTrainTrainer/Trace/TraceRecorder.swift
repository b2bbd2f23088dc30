import DTrainCollectives
import DTrainData
import DTrainEngine
import DTrainEvents
import DTrainTensor

/// Writes down what the threads of one rank do in the first steps of a run (`train --trace`), and in the end one file for all
/// ranks. While it records it allocates nothing.
final class TraceRecorder: StepObserver, CommunicationObserver, LoaderObserver, @unchecked Sendable {
    private let path: String
    private let queue: CommunicationQueue
    private let sink: any EventSink
    /// A dedicated coordinator has no steps, only evaluations.
    private let isCoordinator: Bool
    private let operations: [PlannedOperation]
    private let compute: [TraceRow]
    private let communication: TraceRow
    private let loaders: [TraceRow]
    /// The moment that counts as zero, in nanoseconds of this machine's CLOCK_MONOTONIC.
    private let origin: Int
    private var isRecording = true
    private var isWritten = false

    /// Records from now on; the step and the loader have to be told. All ranks make theirs at the same moment.
    init(_ context: RunContext, path: String) throws {
        self.path = path
        queue = context.queue
        sink = context.events
        isCoordinator = context.isDedicatedCoordinator
        operations = context.replica.operations
        let steps = context.configuration.traceSteps
        let shards = max(context.shards.count, 1)
        // Kernels and waiting of each shard, and of each step itself, exchange, update and an evaluation.
        let perStep = shards * (operations.count * KernelPass.allCases.count + 1) + 4
        compute = (0..<context.pool.threadCount).map { TraceRow("compute \($0)", capacity: steps * perStep + 2) }
        // Buckets, of a parameter each at the least, the tail and what batch-norms sum; evaluations and checkpoints beside them.
        let sums = context.replica.layout.segments.count + 2 * shards * context.replica.batchNorms.count
        communication = TraceRow("communication", capacity: steps * (sums + 8) + 64)
        loaders = (0..<context.configuration.loaderThreads).map {
            // Loaders are some batches ahead.
            TraceRow("loader \($0)", capacity: (steps + 8) * shards)
        }
        // One zero for all: ranks of a host share its clock, and clocks of hosts are read at the same moment.
        if queue.size > 1 { try queue.run(.barrier) }
        let times = try Agreement.gather(monotonicNanoseconds(), over: queue)
        let firstOfHost = queue.hosts.firstIndex(of: queue.hosts[queue.rank])!
        origin = times[firstOfHost]
        if !isCoordinator { queue.observe(with: self) }
    }

    // MARK: What happens

    func ran(node: Int, pass: KernelPass, thread: Int, from start: Int, to end: Int) {
        compute[thread].add(
            TraceSpan(kind: pass == .forward ? .forward : .backward, number: node, start: start, end: end))
    }

    func ran(_ part: StepPart, from start: Int, to end: Int) { addOnMain(.part(part), 0, start, end) }

    /// The step of this number, counted from 1, is over.
    func stepped(_ number: Int, from start: Int, to end: Int) { addOnMain(.step, number, start, end) }

    /// An evaluation after so many steps is over.
    func evaluated(after step: Int, from start: Int, to end: Int) { addOnMain(.evaluation, step, start, end) }

    private func addOnMain(_ kind: TraceSpan.Kind, _ number: Int, _ start: Int, _ end: Int) {
        guard isRecording else { return }
        compute[0].add(TraceSpan(kind: kind, number: number, start: start, end: end))
    }

    func ran(_ operation: CommunicationOperation, from start: Int, to end: Int) {
        communication.add(
            TraceSpan(
                kind: .communication(operation.kind), byteCount: operation.byteCount, start: start, end: end))
    }

    func filled(batch number: Int, thread: Int, from start: Int, to end: Int) {
        loaders[thread].add(TraceSpan(kind: .batch, number: number, start: start, end: end))
    }

    // MARK: The end

    /// Stops recording; whoever told the step and the loader takes that back.
    func end() {
        isRecording = false
        queue.observe(with: nil)
    }

    /// Ends the trace and has rank 0 write those of all ranks to the file, once; all ranks call it at the same point of the run.
    /// A disk that refuses the file is worth a warning and not the run.
    func write() throws {
        guard !isWritten else { return }
        isWritten = true
        end()
        let text = TraceText(
            rank: queue.rank, host: queue.hosts[queue.rank], origin: origin, operations: operations)
        let rows = compute + (isCoordinator ? [] : [communication] + loaders)
        let events = text.events(of: rows)
        guard queue.rank == 0 else { return try send(events) }
        let all = [events] + (try (1..<queue.size).map { try receive(from: $0) })
        do {
            try TraceFile.write(all, to: path)
            sink.receive(.notice(Notice(.info, "the trace is in \(path); ui.perfetto.dev shows it")))
        } catch {
            sink.receive(.notice(Notice(.warning, "\(error)")))
        }
    }

    private func send(_ bytes: [UInt8]) throws {
        let memory = AlignedMemory(byteCount: 8 + bytes.count)
        memory.slice(of: Int.self)[0] = bytes.count
        let all: MemorySlice<UInt8> = memory.slice()
        for (index, byte) in bytes.enumerated() { all[8 + index] = byte }
        try queue.run(.send(all[0..<8], to: 0, tag: MessageTag.trace.rawValue, waitsIndefinitely: true))
        try queue.run(
            .send(all[8..<8 + bytes.count], to: 0, tag: MessageTag.trace.rawValue, waitsIndefinitely: true))
        withExtendedLifetime(memory) {}
    }

    private func receive(from rank: Int) throws -> [UInt8] {
        func next(_ byteCount: Int) throws -> [UInt8] {
            let memory = AlignedMemory(byteCount: byteCount)
            let bytes: MemorySlice<UInt8> = memory.slice()[0..<byteCount]
            try queue.run(.receive(bytes, from: rank, tag: MessageTag.trace.rawValue, waitsIndefinitely: true))
            return withExtendedLifetime(memory) { bytes.array() }
        }
        let byteCount = try next(8).withUnsafeBytes { $0.loadUnaligned(as: Int.self) }
        return try next(byteCount)
    }
}
