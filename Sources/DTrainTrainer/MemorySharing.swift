import DTrainCollectives

/// Which ranks of a group share memory.
struct MemorySharing {
    /// For each rank the lowest of those that share memory with it, itself included.
    let firstRanks: [Int]
    /// Whether some ranks are on one host, and none shares memory with another: their sums go by messages.
    let isMissing: Bool

    /// Every rank of the queue calls it, with the group that it is in. Where rank 0 is in a group of its own, `leavesOutRankZero`
    /// leaves it out.
    init(
        of group: CommunicatorGroup, over queue: CommunicationQueue, leavingOutRankZero leavesOutRankZero: Bool = false
    ) throws {
        let places = try Agreement.gather([group.firstSharingRank, group.localSize], over: queue)
            .dropFirst(leavesOutRankZero ? 1 : 0)
        firstRanks = places.map { $0[0] }
        isMissing = Set(firstRanks).count == firstRanks.count && places.contains { $0[1] > 1 }
    }
}
