import DTrainTensor

/// Makes the batches of one rank ahead of time, on threads of its own.
///
/// Loader threads decode, transform and normalise into a ring of `depth` batches that are allocated once; the
/// consumer takes them in the order of the work list, whatever the number of threads. Threads start with the first
/// `next()`, so that an observer misses no batch. One thread consumes; `stop()` may come from any.
public final class DataLoader: Sendable {
    /// The number of batches that `next()` hands out in all.
    public var batchCount: Int { ring.work.count }
    /// The most rows that a batch has.
    public var capacity: Int { ring.work.capacity }
    private let ring: LoaderRing

    /// - Parameters:
    ///   - sampler: the order that `work` refers to.
    ///   - transforms: applied in this order; in an evaluation, only those that apply there.
    ///   - sampleShape: what the model sees; by default, what the transforms make of `dataset.sampleShape`. `next()`
    ///     throws `DataError.wrongSampleSize` for a sample that comes out differently.
    ///   - normalisation: what pixels are normalised by; by default the data set's own.
    ///   - mixing: how samples of a global batch are mixed; not in an evaluation.
    ///   - forEvaluation: leaves out the transforms that are for training only.
    ///   - brokenSamples: leaves out samples that cannot be read, as `BrokenSamples` says; nil makes `next()` throw.
    ///   - threadCount: the number of loader threads.
    ///   - depth: the number of batches in memory, the one that the consumer works on included; at least 2.
    public init(
        dataset: any ImageDataset, sampler: Sampler, work: LoaderWork, transforms: [any Transform] = [],
        sampleShape: Shape? = nil, normalisation: Normalisation? = nil, mixing: Mixing? = nil,
        forEvaluation: Bool = false, brokenSamples: BrokenSamples? = nil,
        threadCount: Int = 1, depth: Int = 4
    ) {
        precondition(threadCount >= 1 && depth >= 2)
        precondition(mixing == nil || !forEvaluation, "an evaluation does not mix samples")
        precondition(sampler.sampleCount == dataset.count, "the sampler is of another data set")
        let applied = forEvaluation ? transforms.filter(\.appliesInEvaluation) : transforms
        let samples = SampleDecoder.Source(
            dataset: dataset, sampler: sampler, transforms: applied,
            normaliser: Normaliser(normalisation ?? dataset.normalisation),
            sampleShape: sampleShape ?? dataset.sampleShape(after: applied), mixing: mixing,
            forEvaluation: forEvaluation, brokenSamples: brokenSamples)
        ring = LoaderRing(samples, work: work, threadCount: threadCount, depth: depth)
    }

    /// The same for sequences: rows of a batch are sorted by length, and their tokens packed.
    ///
    /// - Parameters:
    ///   - sampler: the order that `work` refers to.
    ///   - threadCount: the number of loader threads.
    ///   - depth: the number of batches in memory, the one that the consumer works on included; at least 2.
    public init(
        sequences dataset: any SequenceDataset, sampler: Sampler, work: LoaderWork, threadCount: Int = 1, depth: Int = 4
    ) {
        precondition(threadCount >= 1 && depth >= 2)
        precondition(sampler.sampleCount == dataset.count, "the sampler is of another data set")
        ring = LoaderRing(
            SequencePacker.Source(dataset: dataset, sampler: sampler), work: work, threadCount: threadCount,
            depth: depth)
    }

    /// A loader for this rank's part of an evaluation of sequences, at most `rows` of them a batch: over all ranks each once.
    /// Streams are shared out as wholes, and each goes on from batch to batch.
    public static func evaluation(
        sequences dataset: any SequenceDataset, rank: Int, rankCount: Int, rows: Int, threadCount: Int = 1,
        depth: Int = 4
    ) -> DataLoader {
        guard let streams = dataset as? TextStreams else {
            return DataLoader(
                sequences: dataset, sampler: .evaluation(sampleCount: dataset.count),
                work: .evaluation(sampleCount: dataset.count, rank: rank, rankCount: rankCount, rows: rows),
                threadCount: threadCount, depth: depth)
        }
        return DataLoader(
            sequences: streams, sampler: .evaluation(sampleCount: streams.count, batchSize: streams.streamCount),
            work: .evaluation(
                streamCount: streams.streamCount, windowCount: streams.windowCount, rank: rank, rankCount: rankCount,
                rows: rows),
            threadCount: threadCount, depth: depth)
    }

    /// A loader for training: the given shards of each step's batch.
    public static func training(
        dataset: any ImageDataset, sampler: Sampler, shards: [Shard], steps: Range<Int>,
        transforms: [any Transform] = [],
        sampleShape: Shape? = nil, normalisation: Normalisation? = nil, mixing: Mixing? = nil,
        brokenSamples: BrokenSamples? = nil, threadCount: Int = 1, depth: Int = 4
    ) -> DataLoader {
        DataLoader(
            dataset: dataset, sampler: sampler,
            work: .training(sampler: sampler, shards: shards, steps: steps), transforms: transforms,
            sampleShape: sampleShape, normalisation: normalisation, mixing: mixing, brokenSamples: brokenSamples,
            threadCount: threadCount,
            depth: depth)
    }

    /// A loader for this rank's part of an evaluation, at most `rows` samples a batch: over all ranks, each sample
    /// once. With `brokenSamples`, a batch has fewer rows, or none, where samples are left out.
    public static func evaluation(
        dataset: any ImageDataset, rank: Int, rankCount: Int, rows: Int, transforms: [any Transform] = [],
        sampleShape: Shape? = nil, normalisation: Normalisation? = nil, seed: UInt64 = 0,
        brokenSamples: BrokenSamples? = nil, threadCount: Int = 1,
        depth: Int = 4
    ) -> DataLoader {
        DataLoader(
            dataset: dataset, sampler: .evaluation(sampleCount: dataset.count, seed: seed),
            work: .evaluation(sampleCount: dataset.count, rank: rank, rankCount: rankCount, rows: rows),
            transforms: transforms, sampleShape: sampleShape, normalisation: normalisation, forEvaluation: true,
            brokenSamples: brokenSamples,
            threadCount: threadCount, depth: depth)
    }

    deinit { stop() }

    /// The next batch, or nil after the last one or after `stop()`. It is valid until the next call, which gives its
    /// buffers back to the loader.
    ///
    /// Only the first call allocates. Throws what reading a sample of this batch threw; then every later call throws the same.
    public func next() throws -> Batch? { try ring.next() }

    /// How long `next()` has waited for the loader so far, over all calls: more than a few per cent of the time of
    /// training means that the loader is the bottleneck.
    public var waitedSeconds: Double { ring.waitedSeconds }

    /// Tells `observer` of every batch that is made from now on; nil tells nobody.
    package func observe(with observer: (any LoaderObserver)?) { ring.observe(with: observer) }

    /// Ends the loader threads and waits for them: at most as long as reading one sample takes. A consumer that waits
    /// in `next()` gets nil. Calling it again does nothing.
    public func stop() { ring.stop() }
}
