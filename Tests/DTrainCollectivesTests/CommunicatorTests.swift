import DTrainCollectives
import DTrainTensor
import Testing

/// The in-process double and the lone rank: another value on each rank (rank r brings r + 1), sizes 1 to 4, counts 0,
/// 1, odd and large.
@Suite struct CommunicatorTests {
    static let sizes = [1, 2, 3, 4]
    static let counts = [0, 1, 7, 70_001]

    @Test(arguments: sizes, counts) func sumsAddEveryRanksValues(size: Int, count: Int) throws {
        let ranks = LoopbackCommunicator.group(size: size)
        let total = size * (size + 1) / 2
        let wrong = try onThreads(size) { rank in
            let floats = try withSlice((0..<count).map { Float((rank + 1) * ($0 % 13)) }) {
                try ranks[rank].allReduceSum($0)
            }
            let doubles = try withSlice((0..<count).map { Double((rank + 1) * ($0 % 17)) }) {
                try ranks[rank].allReduceSum($0)
            }
            let integers = try withSlice((0..<count).map { Int64(rank + 1) << 40 + Int64($0) }) {
                try ranks[rank].allReduceSum($0)
            }
            return floats.indices.filter {
                floats[$0] != Float(total * ($0 % 13)) || doubles[$0] != Double(total * ($0 % 17))
                    || integers[$0] != Int64(total) << 40 + Int64(size * $0)
            }
        }
        #expect(wrong.allSatisfy { $0.isEmpty })
    }

    @Test(arguments: sizes) func extremesAreThoseOfAllRanks(size: Int) throws {
        let ranks = LoopbackCommunicator.group(size: size)
        let results = try onThreads(size) { rank in
            let values = [Int64(rank + 1), -Int64(rank + 1), Int64(rank % 2) << 40]
            return (
                try withSlice(values) { try ranks[rank].allReduceMaximum($0) },
                try withSlice(values) { try ranks[rank].allReduceMinimum($0) }
            )
        }
        for (largest, smallest) in results {
            #expect(largest == [Int64(size), -1, size > 1 ? 1 << 40 : 0])
            #expect(smallest == [1, -Int64(size), 0])
        }
    }

    @Test(arguments: sizes) func broadcastAndGatherCarryBytesOfAnyLength(size: Int) throws {
        let ranks = LoopbackCommunicator.group(size: size)
        let bytes = (0..<size).map { rank in Array(repeating: UInt8(rank + 1), count: 3 * rank) }
        let results = try onThreads(size) { rank in
            (
                try (0..<size).map { try ranks[rank].broadcast(bytes[rank], root: $0) },
                try ranks[rank].allGather(bytes[rank])
            )
        }
        for (fromRoots, gathered) in results {
            #expect(fromRoots == bytes)
            #expect(gathered == bytes)
        }
    }

    @Test(arguments: sizes, [0, 1, 1000]) func anExchangeGivesEachRankItsPieces(size: Int, count: Int) throws {
        let ranks = LoopbackCommunicator.group(size: size)
        let results = try onThreads(size) { rank in
            let received = AlignedMemory(byteCount: size * count)
            let target: MemorySlice<UInt8> = received.slice()[0..<size * count]
            _ = try withSlice((0..<size * count).map { UInt8(16 * rank + $0 / max(count, 1)) }) {
                try ranks[rank].allToAll($0, into: target)
            }
            return withExtendedLifetime(received) { target.array() }
        }
        for (rank, received) in results.enumerated() {
            #expect(received == (0..<size * count).map { UInt8(16 * ($0 / max(count, 1)) + rank) })
        }
    }

    @Test func messagesFindTheirReceiverAndTag() throws {
        let ranks = LoopbackCommunicator.group(size: 3)
        let received = try onThreads(3) { rank -> [[UInt8]] in
            if rank == 0 {
                // Asked for in another order than they are sent in.
                let second = try withSlice([UInt8](repeating: 0, count: 2)) {
                    try ranks[0].receive($0, from: 2, tag: 5, waitsIndefinitely: false)
                }
                let first = try withSlice([UInt8](repeating: 0, count: 1)) {
                    try ranks[0].receive($0, from: 1, tag: 5, waitsIndefinitely: false)
                }
                return [first, second]
            }
            _ = try withSlice([UInt8](repeating: UInt8(rank), count: rank)) {
                try ranks[rank].send($0, to: 0, tag: 5, waitsIndefinitely: true)
            }
            return []
        }
        #expect(received[0] == [[1], [2, 2]])
    }

    @Test func aMessageOfAnotherSizeIsAnErrorOnTheReceiver() throws {
        let ranks = LoopbackCommunicator.group(size: 2)
        let results = try outcomes(2) { rank in
            _ = try withSlice([UInt8](repeating: 1, count: rank + 1)) {
                if rank == 0 {
                    try ranks[0].send($0, to: 1, tag: 0, waitsIndefinitely: false)
                } else {
                    try ranks[1].receive($0, from: 0, tag: 0, waitsIndefinitely: false)
                }
            }
        }
        #expect(throws: Never.self) { try results[0].get() }
        #expect(
            throws: CommunicationError.failed(
                operation: "receive from rank 0 #1", rank: 1, host: "loopback",
                reason: "1 bytes came where 2 were expected")
        ) { try results[1].get() }
    }

    @Test func aSplitOrdersItsGroupsByKey() throws {
        let ranks = LoopbackCommunicator.group(size: 4)
        let results = try onThreads(4) { rank -> [Int]? in
            // Ranks 1, 2 and 3 in reverse; rank 0 stays outside.
            guard let part = try ranks[rank].split(color: rank == 0 ? nil : 7, key: -rank) else { return nil }
            let sum = try withSlice([Float(rank + 1)]) { try part.allReduceSum($0) }
            return [part.rank, part.size, Int(sum[0])]
        }
        #expect(results == [nil, [2, 3, 9], [1, 3, 9], [0, 3, 9]])
    }

    @Test func sumsAreTheSameBitsWhoeverArrivesFirst() throws {
        let values = (0..<4).map { rank in
            (0..<1001).map { Float(CounterRandom(seed: UInt64(rank), purpose: .synthetic).words(UInt64($0)).0) / 7 }
        }
        var seen: Set<[Float]> = []
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let ranks = LoopbackCommunicator.group(size: 4)
            seen.formUnion(
                try onThreads(4) { rank in
                    pause(milliseconds: 5 * order[rank])
                    return try withSlice(values[rank]) { try ranks[rank].allReduceSum($0) }
                })
        }
        #expect(seen.count == 1)
    }

    @Test func aRankThatDoesNotComeIsNamed() throws {
        let ranks = LoopbackCommunicator.group(size: 4, stallSeconds: 0.2)
        let results = try outcomes(4) { rank in
            try ranks[rank].barrier()
            if rank == 1 || rank == 3 { return }
            try ranks[rank].barrier()
        }
        for rank in [0, 2] {
            let error = #expect(throws: CommunicationError.self) { try results[rank].get() }
            guard case .stalled("barrier #2", _, _, 0.2, let missing, let waiting) = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
            #expect(missing.map(\.rank) == [1, 3] && waiting == [0, 2])
        }
    }

    @Test func ranksInDifferentOperationsFailInsteadOfMixingThem() throws {
        let ranks = LoopbackCommunicator.group(size: 3)
        let results = try outcomes(3) { rank in
            _ = try withSlice([Float](repeating: 1, count: rank == 2 ? 3 : 4)) { try ranks[rank].allReduceSum($0) }
        }
        for result in results {
            let error = #expect(throws: CommunicationError.self) { try result.get() }
            #expect("\(error!)".contains("all-reduce of 16 bytes") && "\(error!)".contains("all-reduce of 12 bytes"))
        }
    }

    @Test func aFailureReachesEveryRank() throws {
        let ranks = LoopbackCommunicator.group(size: 3)
        ranks[1].failOperation(number: 2, reason: "cable cut")
        let results = try outcomes(3) { rank in
            try ranks[rank].barrier()
            try ranks[rank].barrier()
        }
        for result in results {
            #expect(
                throws: CommunicationError.failed(
                    operation: "barrier #2", rank: 1, host: "loopback", reason: "cable cut")
            ) { try result.get() }
        }
    }

    @Test func anAbortEndsTheWaitOfTheOthers() throws {
        let ranks = LoopbackCommunicator.group(size: 2)
        let results = try outcomes(2) { rank in
            if rank == 1 { ranks[1].abort(code: 6) } else { try ranks[0].barrier() }
        }
        let error = #expect(throws: CommunicationError.self) { try results[0].get() }
        #expect("\(error!)".contains("rank 1 ended with code 6"))
    }

    @Test func aLoneRankKeepsItsValues() throws {
        let solo = SoloCommunicator(host: "here")
        #expect(solo.rank == 0 && solo.size == 1 && solo.hosts == ["here"] && solo.localSize == 1)
        #expect(withSlice([Float(3), 4]) { solo.allReduceSum($0) } == [3, 4])
        #expect(try solo.allGather([1, 2]) == [[1, 2]])
        #expect(try solo.broadcast([5], root: 0) == [5])
        #expect(solo.split(color: 1, key: 0)?.size == 1 && solo.split(color: nil, key: 0) == nil)
        #expect(throws: CommunicationError.self) {
            try withSlice([UInt8(1)]) { try solo.send($0, to: 1, tag: 0, waitsIndefinitely: false) }
        }
    }

    @Test func errorsNameRanksHostsAndTheRemedy() {
        let stalled = CommunicationError.stalled(
            operation: "all-reduce #1234", rank: 0, host: "a", seconds: 600,
            missing: [.init(rank: 3, host: "b"), .init(rank: 5, host: "c")], waiting: [0, 1, 2, 4])
        #expect(
            stalled.description
                == "rank 0 (host a): ranks 3, 5 (hosts b, c) did not arrive at all-reduce #1234 within 600 s. Look whether "
                + "the process still runs and the network is up on b, c, then start again with --resume auto.")
    }
}
