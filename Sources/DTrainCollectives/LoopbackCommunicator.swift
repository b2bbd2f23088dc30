import DTrainTensor

/// One rank of a group that lives in one process: the double that the exchange is tested with, without a launcher.
///
/// Each rank is used from a thread of its own (or through a queue of its own). Sums are formed in rank order, so
/// they are the same bits every time. A rank that does not come makes the others fail as `MPICommunicator` does.
public final class LoopbackCommunicator: Communicator, @unchecked Sendable {
    public let rank: Int
    public let hosts: [String]
    /// Only what it says: sums have one level here in any case.
    public var firstSharingRanks: [Int] { hosts.map { hosts.firstIndex(of: $0)! } }
    public var size: Int { hosts.count }
    public var localRank: Int { hosts[..<rank].count { $0 == hosts[rank] } }
    public var localSize: Int { hosts.count { $0 == hosts[rank] } }

    private let group: LoopbackGroup
    // Both are touched by the rank's own thread alone; `failOperation` is called before it starts.
    private var sequence = 0
    private var failing: (operation: Int, reason: String)?

    /// The ranks of a new group.
    ///
    /// - Parameters:
    ///   - stallSeconds: how long a rank waits for the others before it throws `stalled`.
    ///   - isSpread: each rank says that it is on a host of its own.
    public static func group(size: Int, stallSeconds: Double = 60, isSpread: Bool = false) -> [LoopbackCommunicator] {
        precondition(size >= 1)
        return group(on: (0..<size).map { isSpread ? "loopback\($0)" : "loopback" }, stallSeconds: stallSeconds)
    }

    private static func group(on hosts: [String], stallSeconds: Double) -> [LoopbackCommunicator] {
        let group = LoopbackGroup(size: hosts.count, stallSeconds: stallSeconds)
        return hosts.indices.map { LoopbackCommunicator(rank: $0, hosts: hosts, group: group) }
    }

    private init(rank: Int, hosts: [String], group: LoopbackGroup) {
        self.rank = rank
        self.hosts = hosts
        self.group = group
    }

    /// Makes this rank's operation of that number (the first is 1) fail here; the other ranks fail with it.
    public func failOperation(number: Int, reason: String = "made to fail") { failing = (number, reason) }

    public func allReduceSum(_ values: MemorySlice<Float>) throws { try reduce(values, +) }
    public func allReduceSum(_ values: MemorySlice<Double>) throws { try reduce(values, +) }
    public func allReduceSum(_ values: MemorySlice<Int64>) throws { try reduce(values, &+) }
    public func allReduceMaximum(_ values: MemorySlice<Int64>) throws { try reduce(values, max) }
    public func allReduceMinimum(_ values: MemorySlice<Int64>) throws { try reduce(values, min) }

    private func reduce<Element>(
        _ values: MemorySlice<Element>, _ combine: (Element, Element) -> Element
    ) throws {
        try collective("all-reduce", byteCount: values.byteCount, .memory(values.rawBytes)) { contributions in
            let slices = contributions.map {
                UnsafeMutableRawPointer($0.memory.base).assumingMemoryBound(to: Element.self)
            }
            for index in 0..<values.count {
                var total = slices[0][index]
                for slice in slices.dropFirst() { total = combine(total, slice[index]) }
                for slice in slices { slice[index] = total }
            }
        }
    }

    public func broadcast(_ bytes: MemorySlice<UInt8>, root: Int) throws {
        try collective("broadcast from rank \(root)", byteCount: bytes.count, .memory(bytes)) { contributions in
            for other in contributions.indices where other != root {
                contributions[other].memory.copy(from: contributions[root].memory)
            }
        }
    }

    public func allGather(_ bytes: MemorySlice<UInt8>, into gathered: MemorySlice<UInt8>) throws {
        precondition(gathered.count == bytes.count * size, "\(gathered.count) bytes for \(size) × \(bytes.count)")
        try collective("all-gather", byteCount: bytes.count, .pair(bytes, gathered)) { contributions in
            for target in contributions {
                for (source, contribution) in contributions.enumerated() {
                    target.second[source * bytes.count..<(source + 1) * bytes.count].copy(from: contribution.memory)
                }
            }
        }
    }

    public func allToAll(_ bytes: MemorySlice<UInt8>, into received: MemorySlice<UInt8>) throws {
        precondition(bytes.count == received.count && bytes.count % size == 0, "\(bytes.count) bytes for \(size) ranks")
        let part = bytes.count / size
        try collective("all-to-all", byteCount: part, .pair(bytes, received)) { contributions in
            for (target, contribution) in contributions.enumerated() {
                for (source, other) in contributions.enumerated() {
                    contribution.second[source * part..<(source + 1) * part].copy(
                        from: other.memory[target * part..<(target + 1) * part])
                }
            }
        }
    }

    public func barrier() throws { try collective("barrier", byteCount: 0, .nothing) { _ in } }

    public func split(color: Int?, key: Int) throws -> (any Communicator)? {
        try collective("split", byteCount: 0, .colour(color, key)) { contributions in
            let results = Self.partition(contributions, self.hosts, stallSeconds: self.group.stallSeconds)
            self.group.splitResults = results
            self.group.adopt(results.compactMap { $0?.group })
        }
        return group.takeSplitResult(rank)
    }

    public func finalize() throws { try barrier() }

    /// Makes every operation of the group fail, as if this process had ended.
    public func abort(code: Int32) {
        group.fail(error("abort", "rank \(rank) ended with code \(code)"))
    }

    private static func partition(
        _ contributions: [LoopbackGroup.Contribution], _ hosts: [String], stallSeconds: Double
    ) -> [LoopbackCommunicator?] {
        var results = [LoopbackCommunicator?](repeating: nil, count: contributions.count)
        for color in Set(contributions.compactMap(\.color)) {
            let members = contributions.indices.filter { contributions[$0].color == color }
                .sorted { (contributions[$0].key, $0) < (contributions[$1].key, $1) }
            let group = group(on: members.map { hosts[$0] }, stallSeconds: stallSeconds)
            for (member, communicator) in zip(members, group) { results[member] = communicator }
        }
        return results
    }

    public func send(_ bytes: MemorySlice<UInt8>, to destination: Int, tag: Int, waitsIndefinitely: Bool) throws {
        let operation = try begin("send to rank \(destination)")
        try group.send(
            bytes, from: rank, to: destination, tag: tag, limit: waitsIndefinitely ? .infinity : group.stallSeconds
        ) { seconds in self.stall(operation, seconds, missing: [destination], waiting: [rank]) }
    }

    public func receive(_ bytes: MemorySlice<UInt8>, from source: Int, tag: Int, waitsIndefinitely: Bool) throws {
        let operation = try begin("receive from rank \(source)")
        let sent = try group.receive(
            bytes, from: source, to: rank, tag: tag, limit: waitsIndefinitely ? .infinity : group.stallSeconds
        ) { seconds in self.stall(operation, seconds, missing: [source], waiting: [rank]) }
        if sent != bytes.count { throw error(operation, "\(sent) bytes came where \(bytes.count) were expected") }
    }

    private func collective(
        _ name: String, byteCount: Int, _ contribution: LoopbackGroup.Contribution,
        _ body: ([LoopbackGroup.Contribution]) -> Void
    ) throws {
        let operation = try begin(name)
        try group.meet(
            rank: rank, label: "\(name) of \(byteCount) bytes", contribution,
            mismatch: { self.error(operation, "the ranks are in different operations: \($0)") },
            stall: { seconds, missing in
                let waiting = (0..<self.size).filter { !missing.contains($0) }
                return self.stall(operation, seconds, missing: missing, waiting: waiting)
            }, body)
    }

    private func begin(_ name: String) throws -> String {
        sequence += 1
        let operation = "\(name) #\(sequence)"
        if let failing, failing.operation == sequence {
            let error = error(operation, failing.reason)
            group.fail(error)
            throw error
        }
        return operation
    }

    private func error(_ operation: String, _ reason: String) -> CommunicationError {
        .failed(operation: operation, rank: rank, host: hosts[rank], reason: reason)
    }

    private func stall(
        _ operation: String, _ seconds: Double, missing: [Int], waiting: [Int]
    ) -> CommunicationError {
        .stalled(
            operation: operation, rank: rank, host: hosts[rank], seconds: seconds,
            missing: missing.map { .init(rank: $0, host: hosts[$0]) }, waiting: waiting)
    }
}
