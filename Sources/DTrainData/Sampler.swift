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

    /// Throws `DataUsageError.batchSize` unless 1 ≤ `batchSize` ≤ `sampleCount`.
    public init(sampleCount: Int, batchSize: Int, seed: UInt64, shuffles: Bool = true) throws(DataUsageError) {
        guard batchSize >= 1, batchSize <= sampleCount else {
            throw .batchSize(batchSize: batchSize, sampleCount: sampleCount)
        }
        self.init(unchecked: sampleCount, batchSize: batchSize, seed: seed, shuffles: shuffles)
    }

    private init(unchecked sampleCount: Int, batchSize: Int, seed: UInt64, shuffles: Bool) {
        precondition(sampleCount <= Int(Int32.max), "at most 2³¹ − 1 samples")
        self.sampleCount = sampleCount
        self.batchSize = batchSize
        self.seed = seed
        self.shuffles = shuffles
    }

    /// All samples in the data set's order as one batch: what an evaluation cuts into shards.
    public static func evaluation(sampleCount: Int, seed: UInt64 = 0) -> Sampler {
        Sampler(unchecked: sampleCount, batchSize: max(sampleCount, 1), seed: seed, shuffles: false)
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
        return SampleOrder(count: sampleCount, indices: permutation(of: sampleCount, by: random))
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
func permutation(of count: Int, by random: CounterRandom) -> [Int32] {
    var order = (0..<Int32(count)).map { $0 }
    order.withUnsafeMutableBufferPointer { order in
        for last in stride(from: count - 1, to: 0, by: -1) {
            order.swapAt(last, random.below(last + 1, UInt64(last)))
        }
    }
    return order
}
