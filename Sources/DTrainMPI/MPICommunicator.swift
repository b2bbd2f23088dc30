internal import CMPIShim
import DTrainCollectives
import DTrainTensor
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The ranks of an MPI job.
///
/// Make it, and use it, on the communication thread of a `CommunicationQueue` (MPI is started with
/// `MPI_THREAD_FUNNELED`): `CommunicationQueue { try MPICommunicator.world() }`.
///
/// Every operation waits for the other ranks with short sleeps before it makes the blocking call. A rank that waits
/// longer than the limit asks the others who is there, and throws `CommunicationError.stalled` that names those who are
/// not. An exchange that all have begun and that does not end shows in `overdueError`.
public final class MPICommunicator: Communicator, @unchecked Sendable {
    /// How long ranks wait for each other.
    public struct Patience: Sendable {
        /// After this many seconds `onNotice` is called, once an operation.
        public var noticeSeconds = 30.0
        /// After this many seconds an operation fails.
        public var limitSeconds = 600.0
        /// How long ranks that have given up collect each other's answers.
        public var inquirySeconds = 1.0
        /// Called on the communication thread with a sentence for people and the seconds waited so far.
        public var onNotice: (@Sendable (_ message: String, _ seconds: Double) -> Void)?

        public init() {}
    }

    public let rank: Int
    public let size: Int
    public let hosts: [String]
    public let firstSharingRanks: [Int]
    public let localRank: Int
    public let localSize: Int

    /// The number of each rank among all of the job, which is how errors name it.
    private let worldRanks: [Int]
    private let handle: OpaquePointer
    private let patience: Patience
    private let blocked: Blocked
    /// Where ranks arrive: `handle`, or that of the communicator that this is a part of and whose operation is under way.
    private let meeting: OpaquePointer

    /// The blocking part of the operation under way, for other threads to see; nil outside.
    private final class Blocked: Sendable {
        let state = Mutex<(operation: Operation, number: Int, since: Double)?>(nil)
    }

    /// Starts MPI and returns the communicator of all ranks.
    ///
    /// - Parameters:
    ///   - launch: what started this process; a job of another size than it says is refused.
    ///   - largestCount: the length of the parts that longer buffers are split into; MPI counts with 32 bits.
    /// - Throws: `CommunicationError.unavailable`, or `failed`.
    public static func world(
        launch: MPILaunch? = nil, patience: Patience = Patience(), largestCount: Int = Int(Int32.max)
    ) throws -> MPICommunicator {
        precondition((1...Int(Int32.max)).contains(largestCount))
        var handle: OpaquePointer?
        dtmpi_set_largest_count(largestCount)
        let status = dtmpi_init(&handle)
        guard status == 0, let handle else {
            throw CommunicationError.unavailable(reason: "MPI does not start: \(errorText(status)).")
        }
        let communicator = try MPICommunicator(handle, patience, worldRank: Int(dtmpi_rank(handle)))
        if let launch, let expected = launch.size, expected != communicator.size {
            throw CommunicationError.unavailable(
                reason: "\(launch.launcher) started \(expected) ranks, but MPI sees \(communicator.size) in this job: "
                    + "the launcher and the MPI library do not speak the same protocol. Use mpirun of the same "
                    + "Open MPI (`which mpirun`), or under Slurm `srun --mpi=pmix`.")
        }
        return communicator
    }

    private init(
        _ handle: OpaquePointer, _ patience: Patience, worldRank: Int, partOf whole: MPICommunicator? = nil
    ) throws {
        self.handle = handle
        self.patience = patience
        meeting = whole?.handle ?? handle
        blocked = whole?.blocked ?? Blocked()
        rank = Int(dtmpi_rank(handle))
        size = Int(dtmpi_size(handle))
        localRank = Int(dtmpi_local_rank(handle))
        localSize = Int(dtmpi_local_size(handle))
        let capacity = Int(DTMPI_HOST_CAPACITY)
        var name = [CChar](repeating: 0, count: capacity)
        dtmpi_host_name(&name)
        var names = [CChar](repeating: 0, count: capacity * size)
        var status = dtmpi_allgather(handle, name, capacity, &names)
        hosts = (0..<size).map { Self.text(names[$0 * capacity..<($0 + 1) * capacity]) }
        var numbers = [Int](repeating: 0, count: 2 * size)
        let own = [worldRank, Int(dtmpi_first_sharing_rank(handle))]
        if status == 0 { status = dtmpi_allgather(handle, own, 2 * MemoryLayout<Int>.size, &numbers) }
        worldRanks = (0..<size).map { numbers[2 * $0] }
        firstSharingRanks = (0..<size).map { numbers[2 * $0 + 1] }
        hostSumCount = Set(firstSharingRanks).count == size ? .max : Int(DTMPI_HOST_SUM_COUNT)
        try check(status, .allGather)
    }

    deinit { dtmpi_comm_free(handle) }

    // MARK: Collectives

    public func allReduceSum(_ values: MemorySlice<Float>) throws {
        try collective(.allReduce) { dtmpi_allreduce_sum_f32(handle, values.base, values.count) }
    }
    public func allReduceSum(_ values: MemorySlice<Double>) throws {
        try collective(.allReduce) { dtmpi_allreduce_sum_f64(handle, values.base, values.count) }
    }
    public func allReduceSum(_ values: MemorySlice<Int64>) throws {
        try collective(.allReduce) { dtmpi_allreduce_sum_i64(handle, values.base, values.count) }
    }
    public func allReduceMaximum(_ values: MemorySlice<Int64>) throws {
        try collective(.allReduce) { dtmpi_allreduce_max_i64(handle, values.base, values.count) }
    }
    public func allReduceMinimum(_ values: MemorySlice<Int64>) throws {
        try collective(.allReduce) { dtmpi_allreduce_min_i64(handle, values.base, values.count) }
    }
    public func broadcast(_ bytes: MemorySlice<UInt8>, root: Int) throws {
        precondition((0..<size).contains(root))
        try collective(.broadcast) { dtmpi_broadcast(handle, bytes.base, bytes.count, Int32(root)) }
    }
    public func allGather(_ bytes: MemorySlice<UInt8>, into gathered: MemorySlice<UInt8>) throws {
        precondition(gathered.count == bytes.count * size, "\(gathered.count) bytes for \(size) × \(bytes.count)")
        try collective(.allGather) { dtmpi_allgather(handle, bytes.base, bytes.count, gathered.base) }
    }
    public func allToAll(_ bytes: MemorySlice<UInt8>, into received: MemorySlice<UInt8>) throws {
        precondition(bytes.count == received.count && bytes.count % size == 0, "\(bytes.count) bytes for \(size) ranks")
        try collective(.allToAll) { dtmpi_alltoall(handle, bytes.base, bytes.count / size, received.base) }
    }
    public func barrier() throws { try collective(.barrier) { 0 } }

    public func split(color: Int?, key: Int) throws -> (any Communicator)? {
        precondition(color.map { $0 >= 0 } ?? true, "colours are not negative")
        var part: OpaquePointer?
        try collective(.split) { dtmpi_split(handle, Int32(color ?? -1), Int32(key), &part) }
        return try part.map { part in
            try block(.split) { try MPICommunicator(part, patience, worldRank: worldRanks[rank]) }
        }
    }

    public func finalize() throws { try collective(.finalize) { dtmpi_finalize() } }

    // MARK: Levels

    public private(set) var acrossHosts: (any Communicator)?
    private var hasPartedHosts = false
    /// Any number, where no ranks share memory.
    public let hostSumCount: Int

    public func reduceScatterOnHost(_ values: MemorySlice<Float>) throws -> Range<Int> {
        precondition(values.count <= hostSumCount)
        var (start, count) = (0, 0)
        try collective(.allReduce) { dtmpi_host_reduce_scatter(handle, values.base, values.count, &start, &count) }
        // Not at the start: few runs sum in another way between hosts than within one.
        if !hasPartedHosts {
            hasPartedHosts = true
            acrossHosts = try block(.split) {
                var part: OpaquePointer?
                try check(dtmpi_across_hosts(handle, &part), .split)
                return try part.map {
                    try MPICommunicator($0, patience, worldRank: worldRanks[rank], partOf: self)
                }
            }
        }
        return start..<start + count
    }

    /// The host's ranks have met in `reduceScatterOnHost`: none arrives anew.
    public func allGatherOnHost(_ values: MemorySlice<Float>) throws {
        try block(.allReduce) { try check(dtmpi_host_all_gather(handle, values.base, values.count), .allReduce) }
    }

    // MARK: Point to point

    public func send(_ bytes: MemorySlice<UInt8>, to destination: Int, tag: Int, waitsIndefinitely: Bool) throws {
        checkPeer(destination, tag)
        try wait(.send(destination), indefinitely: waitsIndefinitely) {
            dtmpi_await_receiver(handle, Int32(destination), Int32(tag), $0)
        }
        try block(.send(destination)) {
            try check(
                dtmpi_send(handle, bytes.base, bytes.count, Int32(destination), Int32(tag)), .send(destination))
        }
    }

    public func receive(_ bytes: MemorySlice<UInt8>, from source: Int, tag: Int, waitsIndefinitely: Bool) throws {
        checkPeer(source, tag)
        var firstCount = 0
        try wait(.receive(source), indefinitely: waitsIndefinitely) {
            dtmpi_await_sender(handle, Int32(source), Int32(tag), $0, &firstCount)
        }
        guard firstCount == dtmpi_first_count(bytes.count) else {
            throw failure(.receive(source), "\(firstCount) bytes came where \(bytes.count) were expected")
        }
        try block(.receive(source)) {
            try check(
                dtmpi_receive(handle, bytes.base, bytes.count, Int32(source), Int32(tag)), .receive(source))
        }
    }

    private func checkPeer(_ peer: Int, _ tag: Int) {
        precondition((0..<size).contains(peer) && peer != rank, "rank \(rank) of \(size) cannot talk to \(peer)")
        precondition((0..<Int(DTMPI_TAG_LIMIT)).contains(tag), "tag \(tag)")
    }

    // MARK: Waiting and failing

    /// An operation as errors name it.
    private enum Operation: Sendable {
        case allReduce, broadcast, allGather, allToAll, barrier, split, finalize
        case send(Int), receive(Int)

        var name: String {
            switch self {
            case .allReduce: "all-reduce"
            case .broadcast: "broadcast"
            case .allGather: "all-gather"
            case .allToAll: "all-to-all"
            case .barrier: "barrier"
            case .split: "split"
            case .finalize: "finalize"
            case .send: "send to rank"
            case .receive: "receive from rank"
            }
        }
        /// The other rank, where there is only one.
        var peer: Int? {
            switch self {
            case .send(let peer), .receive(let peer): peer
            default: nil
            }
        }
    }

    private func collective(_ operation: Operation, _ body: () -> Int32) throws {
        if meeting == handle { try wait(operation, indefinitely: false) { dtmpi_arrive(handle, $0) } }
        try block(operation) { try check(body(), operation) }
    }

    /// Polls until the other ranks are there: `poll` waits for so many seconds at most.
    private func wait(_ operation: Operation, indefinitely: Bool, _ poll: (Double) -> Int32) throws {
        let limit = indefinitely ? Double.infinity : patience.limitSeconds
        var waited = 0.0
        while true {
            let next = waited < patience.noticeSeconds ? min(patience.noticeSeconds, limit) : limit
            let start = monotonicSeconds()
            let status = poll(next - waited)
            waited += monotonicSeconds() - start
            switch status {
            case Int32(DTMPI_OK): return
            case Int32(DTMPI_DISTRESS): throw try stall(operation, seconds: waited)
            case Int32(DTMPI_PENDING):
                if waited >= limit { throw try stall(operation, seconds: waited) }
                waited = max(waited, next)
                if !indefinitely { notify(operation, seconds: waited) }
            default: try check(status, operation)
            }
        }
    }

    /// Makes blocking calls, seen by `overdueError` on other threads.
    private func block<Result>(_ operation: Operation, _ body: () throws -> Result) rethrows -> Result {
        let state = (operation, number(operation), monotonicSeconds())
        blocked.state.withLock { $0 = state }
        defer { blocked.state.withLock { $0 = nil } }
        return try body()
    }

    public func setAwaited(_ isAwaited: Bool) { dtmpi_set_awaited(isAwaited ? 1 : 0) }

    public var overdueError: CommunicationError? {
        guard let (operation, number, since) = blocked.state.withLock({ $0 }) else { return nil }
        let seconds = monotonicSeconds() - since
        guard seconds >= patience.limitSeconds else { return nil }
        return .unfinished(
            operation: Self.name(operation, number), rank: worldRanks[rank], host: host, seconds: seconds,
            hosts: hosts)
    }

    private func notify(_ operation: Operation, seconds: Double) {
        let what = operation.peer.map { "rank \(worldRanks[$0]) (host \(hosts[$0]))" } ?? "the other ranks"
        patience.onNotice?(
            "rank \(worldRanks[rank]) (host \(host)) has waited \(Int(seconds)) s for \(what) in \(name(operation)); "
                + "it gives up after \(Int(patience.limitSeconds)) s",
            seconds)
    }

    /// Finds out who did not come.
    private func stall(_ operation: Operation, seconds: Double) throws -> CommunicationError {
        var isWaiting = [UInt8](repeating: 0, count: size)
        let missing: [Int]
        if let peer = operation.peer {
            isWaiting[rank] = 1
            missing = [peer]
        } else {
            try check(dtmpi_find_missing(handle, patience.inquirySeconds, &isWaiting), operation)
            missing = (0..<size).filter { isWaiting[$0] == 0 }
        }
        return .stalled(
            operation: name(operation), rank: worldRanks[rank], host: host, seconds: seconds,
            missing: missing.map { .init(rank: worldRanks[$0], host: hosts[$0]) },
            waiting: (0..<size).filter { isWaiting[$0] == 1 }.map { worldRanks[$0] })
    }

    /// The other rank of a message, or the number of the collective.
    private func number(_ operation: Operation) -> Int {
        operation.peer.map { worldRanks[$0] } ?? Int(dtmpi_sequence(meeting))
    }

    private func name(_ operation: Operation) -> String { Self.name(operation, number(operation)) }

    private static func name(_ operation: Operation, _ number: Int) -> String {
        operation.name + (operation.peer == nil ? " #\(number)" : " \(number)")
    }

    private func check(_ status: Int32, _ operation: Operation) throws {
        if status != 0 { throw failure(operation, Self.errorText(status)) }
    }

    private func failure(_ operation: Operation, _ reason: String) -> CommunicationError {
        .failed(operation: name(operation), rank: worldRanks[rank], host: host, reason: reason)
    }

    private static func errorText(_ status: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 1024)
        dtmpi_error_text(status, &buffer, buffer.count)
        return text(buffer[...])
    }

    /// The text up to the terminator.
    private static func text(_ characters: ArraySlice<CChar>) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    // MARK: Abort

    /// Ends the job with MPI_Abort.
    ///
    /// MPI allows calls on its own thread alone, so a wait under way there is asked to make it. Where that thread does
    /// not answer within a second (it is stuck inside MPI), the call is made here: nothing is left to protect. Where
    /// even that does not end the process, `_exit` does after five seconds.
    public func abort(code: Int32) {
        _ = startThread(named: "dtrain-abort") {
            sleep(5)
            _exit(code)
        }
        dtmpi_request_abort(code)
        if pthread_equal(pthread_self(), mpiThread) == 0 { usleep(1_000_000) }
        dtmpi_abort(code)
        _exit(code)
    }

    private let mpiThread = pthread_self()
}
