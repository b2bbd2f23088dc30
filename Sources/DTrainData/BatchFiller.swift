/// What a loader's threads have in common: where samples come from and what becomes of them.
protocol BatchSource: Sendable {
    /// A batch with room for `capacity` samples.
    func batch(capacity: Int) -> Batch
    /// What fills batches on one thread.
    func filler() -> any BatchFiller
}

/// Fills batches for one loader thread.
protocol BatchFiller: AnyObject {
    /// Loads what `batch.item` says; false if `shouldContinue`, asked before each sample, ended it early.
    func fill(_ batch: Batch, while shouldContinue: () -> Bool) throws -> Bool
}

/// The order of the epoch that a loader thread is in, drawn once an epoch.
struct EpochOrder {
    private let sampler: Sampler
    private var current: (epoch: Int, samples: SampleOrder)?

    init(_ sampler: Sampler) { self.sampler = sampler }

    mutating func samples(of epoch: Int) -> SampleOrder {
        if let current, current.epoch == epoch { return current.samples }
        // Two orders at once are one too many.
        current = nil
        let samples = sampler.order(epoch: epoch)
        current = (epoch, samples)
        return samples
    }
}
