import DTrainTensor

/// Where the ranks of a `LoopbackCommunicator` group meet: the last to arrive does the work of all, in rank order.
final class LoopbackGroup: @unchecked Sendable {
    /// What a rank brings to a collective.
    enum Contribution {
        case nothing
        case memory(MemorySlice<UInt8>)
        case pair(MemorySlice<UInt8>, MemorySlice<UInt8>)
        case colour(Int?, Int)

        var memory: MemorySlice<UInt8> {
            switch self {
            case .memory(let memory), .pair(let memory, _): memory
            case .nothing, .colour: preconditionFailure("a contribution without memory")
            }
        }
        var second: MemorySlice<UInt8> {
            guard case .pair(_, let memory) = self else { preconditionFailure("a contribution without a target") }
            return memory
        }
        var color: Int? { if case .colour(let color, _) = self { color } else { nil } }
        var key: Int { if case .colour(_, let key) = self { key } else { 0 } }
    }

    private struct Message {
        let source: Int, destination: Int, tag: Int
        let bytes: MemorySlice<UInt8>
        let number: Int
    }

    let stallSeconds: Double
    /// The new communicator of each rank, set by the body of a split.
    var splitResults: [LoopbackCommunicator?] = []

    private let monitor = ConditionVariable()
    private var contributions: [Contribution]
    private var arrived: [Bool]
    private var label = ""
    private var generation = 0
    private var failure: CommunicationError?
    private var messages: [Message] = []
    private var messageNumber = 0
    private var parts: [LoopbackGroup] = []

    init(size: Int, stallSeconds: Double) {
        self.stallSeconds = stallSeconds
        contributions = Array(repeating: .nothing, count: size)
        arrived = Array(repeating: false, count: size)
    }

    /// Takes groups that a split has made: they fail with this one. The lock is held, by `meet`.
    func adopt(_ groups: [LoopbackGroup]) { parts += groups }

    /// Makes all operations from now on fail with `error`, those of groups split off from this one too.
    func fail(_ error: CommunicationError) {
        let parts = monitor.withLock {
            lose(error)
            return self.parts
        }
        for part in parts { part.fail(error) }
    }

    /// The lock must be held.
    private func lose(_ error: CommunicationError) {
        if failure == nil { failure = error }
        monitor.signalAll()
    }

    /// Waits for all ranks; the last one runs `body` over all contributions.
    func meet(
        rank: Int, label: String, _ contribution: Contribution, mismatch: (String) -> CommunicationError,
        stall: (_ seconds: Double, _ missing: [Int]) -> CommunicationError, _ body: ([Contribution]) -> Void
    ) throws {
        try monitor.withLock {
            if let failure { throw failure }
            if !arrived.contains(true) { self.label = label }
            if self.label != label { lose(mismatch("\(self.label); \(label)")) }
            if let failure { throw failure }
            contributions[rank] = contribution
            arrived[rank] = true
            if !arrived.contains(false) {
                body(contributions)
                for index in arrived.indices { arrived[index] = false }
                generation += 1
                monitor.signalAll()
                return
            }
            let mine = generation
            let start = monotonicSeconds()
            while generation == mine {
                if let failure { throw failure }
                monitor.wait(seconds: start + stallSeconds - monotonicSeconds())
                if generation == mine && failure == nil && monotonicSeconds() - start >= stallSeconds {
                    lose(stall(stallSeconds, arrived.indices.filter { !arrived[$0] }))
                }
            }
        }
    }

    func takeSplitResult(_ rank: Int) -> LoopbackCommunicator? { monitor.withLock { splitResults[rank] } }

    /// Offers `bytes` and waits until they were taken.
    func send(
        _ bytes: MemorySlice<UInt8>, from source: Int, to destination: Int, tag: Int, limit: Double,
        stall: (Double) -> CommunicationError
    ) throws {
        try monitor.withLock {
            messageNumber += 1
            let number = messageNumber
            messages.append(
                Message(source: source, destination: destination, tag: tag, bytes: bytes, number: number))
            monitor.signalAll()
            defer { messages.removeAll { $0.number == number } }
            try wait(limit: limit, stall) { !messages.contains { $0.number == number } }
        }
    }

    /// Waits for a message and copies it where it has the right size; returns its size.
    func receive(
        _ bytes: MemorySlice<UInt8>, from source: Int, to destination: Int, tag: Int, limit: Double,
        stall: (Double) -> CommunicationError
    ) throws -> Int {
        try monitor.withLock {
            var found: Int?
            try wait(limit: limit, stall) {
                found = messages.firstIndex { $0.source == source && $0.destination == destination && $0.tag == tag }
                return found != nil
            }
            let message = messages.remove(at: found!)
            if message.bytes.count == bytes.count { bytes.copy(from: message.bytes) }
            monitor.signalAll()
            return message.bytes.count
        }
    }

    /// Sleeps, with the lock held, until `condition`.
    private func wait(limit: Double, _ stall: (Double) -> CommunicationError, until condition: () -> Bool) throws {
        let start = monotonicSeconds()
        while true {
            if let failure { throw failure }
            if condition() { return }
            let left = start + limit - monotonicSeconds()
            if left <= 0 { lose(stall(limit)) } else { monitor.wait(seconds: min(left, 3600)) }
        }
    }
}
