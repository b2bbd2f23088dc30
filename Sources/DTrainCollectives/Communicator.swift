import DTrainTensor

/// A group of processes that compute together, as one of them sees it.
///
/// Every operation blocks. The collectives (all but `send` and `receive`) must be called by all ranks of the group in
/// the same order with the same extents. All operations of a process's communicators come from one thread, the
/// communication thread of a `CommunicationQueue`; `setAwaited`, `overdueError` and `abort` alone may be called from
/// any.
///
/// Results are the same bits on all ranks, and the same bits whenever the same ranks bring the same values: no result
/// depends on who arrives first. Every operation throws a `CommunicationError`.
public protocol Communicator: AnyObject, Sendable {
    /// This process's number in the group: 0 ..< `size`.
    var rank: Int { get }
    /// The number of processes in the group.
    var size: Int { get }
    /// The name of the host that each rank runs on.
    var hosts: [String] { get }
    /// For each rank the lowest of those that share memory with it, itself included: what tells hosts apart where they are summed
    /// up. Where the ranks of any host share none, each of the job is a host of its own.
    var firstSharingRanks: [Int] { get }
    /// This process's number among those of the group on its own host: 0 ..< `localSize`.
    var localRank: Int { get }
    /// The number of the group's processes on this host.
    var localSize: Int { get }

    /// Replaces `values`, element by element, by their sum over all ranks.
    func allReduceSum(_ values: MemorySlice<Float>) throws
    func allReduceSum(_ values: MemorySlice<Double>) throws
    func allReduceSum(_ values: MemorySlice<Int64>) throws
    /// Replaces `values`, element by element, by the largest over all ranks.
    func allReduceMaximum(_ values: MemorySlice<Int64>) throws
    /// Replaces `values`, element by element, by the smallest over all ranks.
    func allReduceMinimum(_ values: MemorySlice<Int64>) throws
    /// Replaces `bytes` by those of rank `root`.
    func broadcast(_ bytes: MemorySlice<UInt8>, root: Int) throws
    /// Collects `bytes` of all ranks, in rank order, into `gathered`, which has `size` times as many.
    func allGather(_ bytes: MemorySlice<UInt8>, into gathered: MemorySlice<UInt8>) throws
    /// Parts `bytes` into one piece of equal length for each rank, in rank order, and collects in `received`, as long, what
    /// all ranks have for this one, in rank order too.
    func allToAll(_ bytes: MemorySlice<UInt8>, into received: MemorySlice<UInt8>) throws
    /// Returns once all ranks have called it.
    func barrier() throws

    /// A sum by two levels, for those who sum in another way between hosts than within one: `reduceScatterOnHost`, a sum over
    /// `acrossHosts` of the elements that it returns, `allGatherOnHost`.
    ///
    /// Those elements of `values` become their sums over the ranks of this host; each of these has others. Where each is a host
    /// of its own (`firstSharingRanks`), it returns all elements, and `acrossHosts` are all ranks.
    /// - Parameter values: at most `hostSumCount`.
    func reduceScatterOnHost(_ values: MemorySlice<Float>) throws -> Range<Int>
    /// Collects in `values` what this host's ranks have each made of the elements that `reduceScatterOnHost` returned.
    func allGatherOnHost(_ values: MemorySlice<Float>) throws
    /// Of each host the rank that `reduceScatterOnHost` returns the same elements to; nil for a rank that never gets any, and
    /// before the first call of `reduceScatterOnHost`.
    var acrossHosts: (any Communicator)? { get }
    /// Elements that `reduceScatterOnHost` takes at a time.
    var hostSumCount: Int { get }

    /// Hands `bytes` to rank `destination`; returns once that rank's `receive` has taken them (nothing is buffered, so
    /// two ranks that send to each other at once wait for ever). `tag` is 0 ..< 32,000 and tells messages apart.
    ///
    /// - Parameter waitsIndefinitely: no limit to the wait, for an answer that may take as long as it likes.
    func send(_ bytes: MemorySlice<UInt8>, to destination: Int, tag: Int, waitsIndefinitely: Bool) throws
    /// Waits for exactly `bytes.count` bytes that rank `source` sends with `tag`.
    func receive(_ bytes: MemorySlice<UInt8>, from source: Int, tag: Int, waitsIndefinitely: Bool) throws

    /// Parts the group: ranks of one `color` form a new group, ordered by `key`, then by rank. Every rank takes part;
    /// one that gives nil gets nil.
    func split(color: Int?, key: Int) throws -> (any Communicator)?

    /// Ends communication in good order, together with all other ranks; the communicator is of no use afterwards.
    func finalize() throws

    /// Says whether a thread sleeps until the operations under way are over, whose core is then free to wait for other ranks more
    /// eagerly. Callable from any thread.
    func setAwaited(_ isAwaited: Bool)

    /// What is wrong with the operation now under way on the communication thread: nil, or the error that its caller
    /// should give up with because it is stuck where it cannot be interrupted. Callable from any thread.
    var overdueError: CommunicationError? { get }

    /// Ends all processes of the job with exit code `code`, this one included where the launcher does that: the last
    /// thing a failing process calls, from any thread. It returns only where there is nobody else to end.
    func abort(code: Int32)
}

extension Communicator {
    public var host: String { hosts[rank] }
    public var firstSharingRanks: [Int] { Array(0..<size) }
    public var overdueError: CommunicationError? { nil }
    public func setAwaited(_ isAwaited: Bool) {}

    public func reduceScatterOnHost(_ values: MemorySlice<Float>) throws -> Range<Int> { 0..<values.count }
    public func allGatherOnHost(_ values: MemorySlice<Float>) throws {}
    public var acrossHosts: (any Communicator)? { self }
    public var hostSumCount: Int { .max }

    /// The bytes of rank `root`; the other ranks' own do not matter, nor need they know how many come.
    public func broadcast(_ bytes: [UInt8], root: Int) throws -> [UInt8] {
        let header = AlignedMemory(byteCount: 8)
        let count: MemorySlice<Int64> = header.slice()
        count[0] = Int64(bytes.count)
        try broadcast(count.rawBytes, root: root)
        let payload = AlignedMemory(byteCount: Int(count[0]))
        let slice: MemorySlice<UInt8> = payload.slice()
        if rank == root { slice.copy(from: bytes) }
        try broadcast(slice, root: root)
        return withExtendedLifetime((header, payload)) { slice.array() }
    }

    /// The bytes of every rank, in rank order; each may bring another number of them.
    public func allGather(_ bytes: [UInt8]) throws -> [[UInt8]] {
        let header = AlignedMemory(byteCount: 8 * (size + 1))
        let counts: MemorySlice<Int64> = header.slice()
        counts[size] = Int64(bytes.count)
        try allGather(counts[size..<size + 1].rawBytes, into: counts[0..<size].rawBytes)
        let width = Int(counts.array()[0..<size].max() ?? 0)
        let own = AlignedMemory(byteCount: width)
        let all = AlignedMemory(byteCount: width * size)
        let ownSlice: MemorySlice<UInt8> = own.slice()
        let allSlice: MemorySlice<UInt8> = all.slice()
        ownSlice[0..<bytes.count].copy(from: bytes)
        try allGather(ownSlice, into: allSlice)
        return withExtendedLifetime((header, own, all)) {
            (0..<size).map { allSlice[$0 * width..<$0 * width + Int(counts[$0])].array() }
        }
    }
}

extension MemorySlice {
    /// The same memory as bytes.
    public var rawBytes: MemorySlice<UInt8> {
        MemorySlice<UInt8>(
            base: UnsafeMutableRawPointer(base).assumingMemoryBound(to: UInt8.self), count: byteCount)
    }

    fileprivate func copy(from elements: [Element]) {
        precondition(elements.count == count)
        elements.withUnsafeBufferPointer { if count > 0 { base.update(from: $0.baseAddress!, count: count) } }
    }
}
