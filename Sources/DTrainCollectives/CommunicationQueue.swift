/// A group of ranks of one `CommunicationQueue`: all of them (`world`) or those that a `split` left together.
public struct CommunicatorGroup: Hashable, Sendable {
    let index: Int
    /// This process's number in the group.
    public let rank: Int
    /// The number of processes in the group.
    public let size: Int
    /// The lowest of the group's ranks that share memory with this one, itself included.
    package let firstSharingRank: Int
    /// The number of the group's processes on this host.
    package let localSize: Int

    fileprivate init(_ communicator: any Communicator, index: Int) {
        self.index = index
        rank = communicator.rank
        size = communicator.size
        firstSharingRank = communicator.firstSharingRanks[rank]
        localSize = communicator.localSize
    }
}

/// The one communication thread of a process and the first-in, first-out queue of what it is to do.
///
/// Every call of the message passing library, from its start to its end, is made on this thread. Operations run in the
/// order of submission, so every rank of a group must submit the same ones in the same order: submit from one thread.
/// `submit` returns at once and allocates nothing. The memory of an operation must stay, untouched, until its ticket
/// was waited for.
///
/// The first operation that fails, fails all later ones too, with the same error: the ranks no longer agree on what
/// comes next. The error surfaces at `wait`.
public final class CommunicationQueue: Sendable {
    /// An operation's place in the queue.
    public struct Ticket: Sendable { let number: Int }

    /// What the queue has done so far.
    public struct Statistics: Sendable {
        /// Bytes that this rank brought into all-reduces.
        public var bytesReduced = 0
        public var operationCount = 0
        /// Time that the communication thread spent on operations, waiting for other ranks included.
        public var busySeconds = 0.0
        /// Time that callers of `wait` slept.
        public var waitedSeconds = 0.0
    }

    /// All ranks.
    public let world: CommunicatorGroup
    /// The host of each rank, and the lowest of the ranks that share memory with it.
    public let hosts: [String], firstSharingRanks: [Int]
    /// This process's number among those on its own host, and how many they are.
    public let localRank: Int, localSize: Int
    public var rank: Int { world.rank }
    public var size: Int { world.size }

    private let thread: CommunicationThread

    /// Starts the communication thread, which calls `makeCommunicator` first; returns when that has returned, and
    /// throws what it throws.
    ///
    /// - Parameter capacity: the operations that may be in the queue at once; `submit` waits while it is full.
    public init(
        capacity: Int = 256, makeCommunicator: @escaping @Sendable () throws -> any Communicator
    ) throws {
        precondition(capacity >= 1)
        thread = CommunicationThread(capacity: capacity)
        let communicator = try thread.start(makeCommunicator)
        world = CommunicatorGroup(communicator, index: 0)
        hosts = communicator.hosts
        firstSharingRanks = communicator.firstSharingRanks
        localRank = communicator.localRank
        localSize = communicator.localSize
    }

    /// Lets the thread end without a good-bye to the other ranks: that is what `close` is for.
    deinit { thread.end() }

    /// Appends `operation`, in `group` (default: all ranks), to the queue.
    public func submit(_ operation: CommunicationOperation, in group: CommunicatorGroup? = nil) -> Ticket {
        Ticket(number: thread.submit(.operation(operation, group: group?.index ?? 0)))
    }

    /// Sleeps until the operation is done.
    ///
    /// - Throws: the error of that operation or of the first one that failed before it.
    public func wait(_ ticket: Ticket) throws { try thread.wait(ticket.number) }

    /// Whether the operation is over, without waiting.
    public func isDone(_ ticket: Ticket) -> Bool { thread.isDone(ticket.number) }

    /// Carries out `operation` after all that was submitted before, and waits for it.
    public func run(_ operation: CommunicationOperation, in group: CommunicatorGroup? = nil) throws {
        try wait(submit(operation, in: group))
    }

    /// Runs `body` with the communicator of `group` on the communication thread, in its turn, and returns its result:
    /// for what is not done in every step. All ranks of the group must do the same.
    public func perform<Result>(
        in group: CommunicatorGroup? = nil, _ body: @escaping (any Communicator) throws -> Result
    ) throws -> Result {
        var result: Result?
        let call = CommunicationThread.Call { result = try body($0) }
        try thread.wait(thread.submit(.call(.passRetained(call), group: group?.index ?? 0)))
        return result!
    }

    /// Parts `group` as `Communicator.split` does; nil for a rank that gave no colour.
    public func split(color: Int?, key: Int = 0, in group: CommunicatorGroup? = nil) throws -> CommunicatorGroup? {
        let thread = thread
        return try perform(in: group) { communicator in
            try communicator.split(color: color, key: key).map {
                CommunicatorGroup($0, index: thread.add($0))
            }
        }
    }

    /// Ends communication in good order once all ranks have come here.
    public func close() throws { try perform { try $0.finalize() } }

    /// Ends all processes of the job with exit code `code`: the last act of a process that fails, from any thread.
    ///
    /// While the communication thread is idle, or waits for other ranks, it makes the library's call itself, as the
    /// library demands. Only where it is stuck inside the library is the call made on the caller's thread: the process
    /// is dying anyway. See `Communicator.abort` for when this returns.
    public func abort(code: Int32) { thread.abort(code: code) }

    public var statistics: Statistics { thread.statistics }

    /// Tells `observer` of every operation that ends from now on, on the communication thread; nil tells nobody.
    package func observe(with observer: (any CommunicationObserver)?) { thread.observe(with: observer) }
}
