import DTrainTensor

/// The global order of samples: which sample stands at which position of which batch.
///
/// It is a function of (seed, epoch) alone, so it is the same for every number of ranks, and any batch of any epoch can
/// be asked for directly: resuming in mid-epoch replays nothing. Training drops an incomplete last batch.
public struct Sampler: Hashable, Sendable {
    public let sampleCount: Int
    /// The global batch size, over all ranks and accumulation included.
    public let batchSize: Int
    public let seed: UInt64
    /// False keeps the data set's own order (`--no-shuffle`).
    public let shuffles: Bool
    /// The length of each sample, where samples are sequences.
    private let lengths: [Int32]?

    /// Batches whose samples are sorted by length together.
    private static let poolBatches = 50

    /// - Parameter lengths: of each sample: sequences of nearly one length then share a batch. The samples, shuffled, are
    ///   sorted by length in pools of 50 batches, cut into batches, and the batches shuffled. Without shuffling they have no
    ///   effect.
    ///
    /// Throws `DataUsageError.batchSize` unless 1 ≤ `batchSize` ≤ `sampleCount`.
    public init(
        sampleCount: Int, batchSize: Int, seed: UInt64, shuffles: Bool = true, lengths: [Int32]? = nil
    ) throws(DataUsageError) {
        guard batchSize >= 1, batchSize <= sampleCount else {
            throw .batchSize(batchSize: batchSize, sampleCount: sampleCount)
        }
        precondition((lengths?.count ?? sampleCount) == sampleCount, "one length a sample")
        self.init(unchecked: sampleCount, batchSize: batchSize, seed: seed, shuffles: shuffles, lengths: lengths)
    }

    private init(unchecked sampleCount: Int, batchSize: Int, seed: UInt64, shuffles: Bool, lengths: [Int32]? = nil) {
        precondition(sampleCount <= Int(Int32.max), "at most 2³¹ − 1 samples")
        self.sampleCount = sampleCount
        self.batchSize = batchSize
        self.seed = seed
        self.shuffles = shuffles
        self.lengths = lengths
    }

    /// All samples in the data set's order as one batch, or as batches of `batchSize`: what an evaluation cuts into shards.
    public static func evaluation(sampleCount: Int, batchSize: Int? = nil, seed: UInt64 = 0) -> Sampler {
        Sampler(unchecked: sampleCount, batchSize: batchSize ?? max(sampleCount, 1), seed: seed, shuffles: false)
    }

    /// The number of steps in an epoch.
    public var batchesPerEpoch: Int { sampleCount / batchSize }
    /// The number of samples that an epoch leaves out because they do not fill a batch: others in each epoch, unless
    /// nothing is shuffled.
    public var droppedSampleCount: Int { sampleCount % batchSize }

    /// The epoch and the batch in it of a step; both, and steps, count from 0.
    public func position(ofStep step: Int) -> (epoch: Int, batch: Int) {
        (step / batchesPerEpoch, step % batchesPerEpoch)
    }

    /// The order of all samples in `epoch`.
    public func order(epoch: Int) -> SampleOrder {
        guard shuffles else { return SampleOrder(count: sampleCount, indices: nil) }
        let random = CounterRandom(seed: seed, purpose: .sampleOrder, stream: UInt32(truncatingIfNeeded: epoch))
        let shuffled = permutation(of: sampleCount, by: random)
        return SampleOrder(count: sampleCount, indices: lengths.map { bucketed(shuffled, $0, random) } ?? shuffled)
    }

    /// `order` with samples of nearly one length in each batch. Those that fill no batch stay last: they are left out by
    /// chance, not by length.
    private func bucketed(_ order: [Int32], _ lengths: [Int32], _ random: CounterRandom) -> [Int32] {
        let whole = batchesPerEpoch * batchSize
        var sorted = order
        for start in stride(from: 0, to: whole, by: Self.poolBatches * batchSize) {
            let pool = start..<min(start + Self.poolBatches * batchSize, whole)
            // Of equal lengths the first stays first, so that the order is the seed's and not the sort's.
            let places = pool.sorted { (lengths[Int(order[$0])], $0) < (lengths[Int(order[$1])], $1) }
            for (place, source) in zip(pool, places) { sorted[place] = order[source] }
        }
        // The counters of the batches follow those of the samples.
        let batches = permutation(of: batchesPerEpoch, by: random, firstCounter: 1 << 40)
        return batches.flatMap { sorted[Int($0) * batchSize..<(Int($0) + 1) * batchSize] } + order[whole...]
    }
}

/// The samples of one epoch in order: a permutation, or the identity.
public struct SampleOrder: Hashable, Sendable {
    public let count: Int
    private let indices: [Int32]?

    init(count: Int, indices: [Int32]?) {
        self.count = count
        self.indices = indices
    }

    /// The index in the data set of the sample at `position` of the epoch.
    public subscript(_ position: Int) -> Int {
        precondition(position >= 0 && position < count, "position \(position) of an epoch of \(count)")
        return indices.map { Int($0[position]) } ?? position
    }
}

/// A uniform permutation of 0 ..< `count`: the shuffle of Fisher and Yates (Durstenfeld 1964) with draws by counter.
func permutation(of count: Int, by random: CounterRandom, firstCounter: UInt64 = 0) -> [Int32] {
    var order = (0..<Int32(count)).map { $0 }
    order.withUnsafeMutableBufferPointer { order in
        for last in stride(from: count - 1, to: 0, by: -1) {
            order.swapAt(last, random.below(last + 1, firstCounter + UInt64(last)))
        }
    }
    return order
}
