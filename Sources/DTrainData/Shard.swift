/// A contiguous run of positions of the global batch: the unit of data parallelism.
public struct Shard: Hashable, Sendable {
    /// The first position in the global batch.
    public let offset: Int
    /// The number of samples.
    public let rows: Int
    public var range: Range<Int> { offset..<offset + rows }

    public init(offset: Int, rows: Int) {
        precondition(offset >= 0 && rows >= 0)
        self.offset = offset
        self.rows = rows
    }

    /// Cuts `count` positions into `parts` contiguous shards, in order, whose sizes differ by at most one.
    public static func split(_ count: Int, into parts: Int) -> [Shard] {
        precondition(count >= 0 && parts >= 1)
        return (0..<parts).map { part in
            let lower = count * part / parts
            return Shard(offset: lower, rows: count * (part + 1) / parts - lower)
        }
    }

    /// The shards of one rank: the global batch is cut into `rankCount` × `accumulation` shards, and each rank runs
    /// `accumulation` neighbours one after the other.
    ///
    /// Throws `DataUsageError.batchTooSmall` if a shard would be empty.
    public static func ofRank(
        _ rank: Int, of rankCount: Int, batchSize: Int, accumulation: Int = 1
    ) throws(DataUsageError) -> [Shard] {
        precondition(rank >= 0 && rank < rankCount && accumulation >= 1)
        guard batchSize >= rankCount * accumulation else {
            throw .batchTooSmall(batchSize: batchSize, ranks: rankCount, accumulation: accumulation)
        }
        let all = split(batchSize, into: rankCount * accumulation)
        return Array(all[rank * accumulation..<(rank + 1) * accumulation])
    }
}
