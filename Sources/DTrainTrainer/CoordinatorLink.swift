import DTrainCollectives
import DTrainEvents
import DTrainOptimizers
import DTrainTensor

/// A training rank's side of a dedicated coordinator. The first training rank speaks for all: it sends what steps gave,
/// several at a time so that no step waits for it, and snapshots.
final class CoordinatorLink: Coordination {
    /// The least time between two messages that carry steps alone.
    private static let interval = 0.25

    private let context: RunContext
    private let queue: CommunicationQueue
    /// One is filled while the other is on its way.
    private var filling = CoordinatorMessage()
    private var sent = CoordinatorMessage()
    /// The number of a signal that the coordinator got, or 0: what it answers to each message.
    private let replyMemory = AlignedMemory(byteCount: MemoryLayout<Int64>.stride)
    private let reply: MemorySlice<Int64>
    private let verdict = VerdictMessage()
    private var underWay: CommunicationQueue.Ticket?
    private var lastSend = monotonicSeconds()

    private var speaks: Bool { context.group.rank == 0 }

    init(_ context: RunContext, start: StartPoint) {
        self.context = context
        verdict.value = Steering(context.configuration, decisions: start.decisions).verdict
        queue = context.queue
        reply = replyMemory.slice(of: Int64.self)[0..<1]
    }

    /// The coordinator alone knows.
    var newestCheckpoint: String? { nil }

    func report(_ step: StepCompleted) throws {
        filling.append(step)
        if filling.isFull || monotonicSeconds() - lastSend >= Self.interval { try send(.steps) }
    }

    func milestone(step: Int, evaluate: Bool, save: Bool) throws -> Steering.Verdict {
        guard GradientNorm.isFinite(context.replica.parameters) else { throw UnusableState(kind: .parameters) }
        if speaks {
            filling.milestone = (step, evaluate, save)
            try send(.snapshot)
            if evaluate {
                // What the evaluation before has decided: it may still be going on.
                _ = queue.submit(
                    .receive(verdict.bytes, from: 0, tag: MessageTag.verdict.rawValue, waitsIndefinitely: true))
            }
            // The parameters must stay as they are until they are taken: while the coordinator still works on the
            // snapshot before, this waits.
            for memory in SnapshotTransfer.memories(context) {
                underWay = queue.submit(
                    .send(memory, to: 0, tag: MessageTag.payload.rawValue, waitsIndefinitely: true))
            }
            try settle()
        }
        try context.residuals.send(over: queue)
        try queue.awaitRankZero(of: context.group, sharing: verdict.bytes)
        return verdict.value
    }

    func end(_ ending: Ending) throws {
        if speaks {
            filling.ending = ending
            try send(.end)
            try settle()
        }
        try queue.awaitRankZero(of: queue.world)
    }

    func fail(_ failure: Failure) throws {
        if speaks {
            filling.failure = failure
            try send(.failure)
            try settle()
        }
        try queue.awaitRankZero(of: queue.world)
    }

    /// Puts the message on its way, behind the one before.
    private func send(_ kind: CoordinatorMessage.Kind) throws {
        try settle()
        filling.kind = kind
        swap(&filling, &sent)
        filling.clear()
        _ = queue.submit(.send(sent.bytes, to: 0, tag: MessageTag.message.rawValue, waitsIndefinitely: true))
        underWay = queue.submit(
            .receive(reply.rawBytes, from: 0, tag: MessageTag.reply.rawValue, waitsIndefinitely: true))
        lastSend = monotonicSeconds()
    }

    /// Waits until nothing is under way; then the reply is there.
    private func settle() throws {
        guard let ticket = underWay else { return }
        try queue.wait(ticket)
        underWay = nil
        if reply[0] != 0 { context.stop.request(Int32(reply[0])) }
    }
}

/// What a snapshot consists of on the wire, in its order.
enum SnapshotTransfer {
    static func memories(_ context: RunContext) -> [MemorySlice<UInt8>] {
        [context.replica.parameters.rawBytes] + context.optimizer.stateArenas.map(\.rawBytes)
            + (context.carriedState.isNeeded ? [context.carriedState.memory.rawBytes] : [])
    }
}
