/// One batch to load: a shard of a global batch.
public struct WorkItem: Hashable, Sendable {
    /// The epoch, from 0: with the seed it decides the order of samples and their augmentation.
    public let epoch: Int
    /// The global batch in the epoch, from 0.
    public let batch: Int
    /// The number of updates before this one.
    public let step: Int
    public let shard: Shard

    public init(epoch: Int, batch: Int, step: Int, shard: Shard) {
        self.epoch = epoch
        self.batch = batch
        self.step = step
        self.shard = shard
    }
}

/// The batches that a loader makes, in order. Items are computed on demand: a long run costs no memory.
public struct LoaderWork: Sendable {
    /// The number of items.
    public let count: Int
    /// The rows of the largest item.
    public let capacity: Int
    private let item: @Sendable (Int) -> WorkItem

    /// Exactly these items.
    public init(_ items: [WorkItem]) {
        count = items.count
        capacity = items.reduce(0) { max($0, $1.shard.rows) }
        item = { items[$0] }
    }

    /// For each step of `steps`, the given shards of its batch in order.
    ///
    /// `steps` may begin and end anywhere in an epoch and go over several.
    public static func training(sampler: Sampler, shards: [Shard], steps: Range<Int>) -> LoaderWork {
        LoaderWork(count: steps.count * shards.count, capacity: shards.reduce(0) { max($0, $1.rows) }) { index in
            let step = steps.lowerBound + index / shards.count
            let position = sampler.position(ofStep: step)
            return WorkItem(
                epoch: position.epoch, batch: position.batch, step: step, shard: shards[index % shards.count])
        }
    }

    /// This rank's part of an evaluation, at most `rows` samples at a time. Over all ranks every sample occurs exactly
    /// once; a rank has no work if there are fewer samples than ranks.
    public static func evaluation(sampleCount: Int, rank: Int, rankCount: Int, rows: Int) -> LoaderWork {
        precondition(rows >= 1)
        let part = Shard.split(sampleCount, into: rankCount)[rank]
        let count = (part.rows + rows - 1) / rows
        return LoaderWork(count: count, capacity: min(rows, part.rows)) { index in
            let offset = part.offset + index * rows
            let shard = Shard(offset: offset, rows: min(rows, part.range.upperBound - offset))
            return WorkItem(epoch: 0, batch: 0, step: index, shard: shard)
        }
    }

    /// This rank's part of an evaluation of streams: the streams are shared out over the ranks, and a rank walks through all
    /// windows of its own, at most `rows` streams at a time. A batch's positions are the numbers of its streams.
    public static func evaluation(
        streamCount: Int, windowCount: Int, rank: Int, rankCount: Int, rows: Int
    ) -> LoaderWork {
        precondition(rows >= 1)
        let part = Shard.split(streamCount, into: rankCount)[rank]
        let groups = (part.rows + rows - 1) / rows
        return LoaderWork(count: groups * windowCount, capacity: min(rows, part.rows)) { index in
            let (group, window) = index.quotientAndRemainder(dividingBy: windowCount)
            let offset = part.offset + group * rows
            let shard = Shard(offset: offset, rows: min(rows, part.range.upperBound - offset))
            return WorkItem(epoch: 0, batch: window, step: index, shard: shard)
        }
    }

    private init(count: Int, capacity: Int, item: @escaping @Sendable (Int) -> WorkItem) {
        self.count = count
        self.capacity = capacity
        self.item = item
    }

    public subscript(_ index: Int) -> WorkItem {
        precondition(index >= 0 && index < count)
        return item(index)
    }
}
