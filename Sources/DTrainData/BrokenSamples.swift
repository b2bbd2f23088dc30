import Synchronization

/// The samples that could not be read and were left out (`--skip-broken`): a note that all loaders of a run share.
///
/// In training, the next sample in the data set's order that can be read stands in for a broken one: of a folder, most
/// often its neighbour of the same class. So what stands at a position of a batch depends on the data and the order
/// alone, and not on the rank that meets it; no file needs to be looked at before it is used. The random numbers of the
/// transforms stay those of the broken sample. An evaluation leaves broken samples out and counts them out.
public final class BrokenSamples: Sendable {
    /// One broken sample.
    public struct Entry: Hashable, Sendable {
        public let split: DatasetSplit
        /// Its index in the split.
        public let index: Int
        public let error: DataError
    }

    /// As many samples in a row may be broken before the data count as broken as a whole.
    package static let longestRun = 100

    private let entries = Mutex<[Entry]>([])
    private let onFirst: @Sendable (Entry) -> Void

    /// - Parameter onFirst: called once for each broken sample, when it is met first, on a loader thread.
    public init(onFirst: @escaping @Sendable (Entry) -> Void = { _ in }) { self.onFirst = onFirst }

    /// Those met so far on this rank, by split and index.
    public var all: [Entry] {
        entries.withLock { $0 }.sorted { ($0.split.rawValue, $0.index) < ($1.split.rawValue, $1.index) }
    }

    func note(_ entry: Entry) {
        let isNew = entries.withLock { entries in
            let isNew = !entries.contains { $0.split == entry.split && $0.index == entry.index }
            if isNew { entries.append(entry) }
            return isNew
        }
        if isNew { onFirst(entry) }
    }
}

extension SampleScratch {
    /// As `load`, but leaves out broken samples where `brokenSamples` is given: another takes the place of sample
    /// `index`, or, unless `replacing`, the result is nil.
    ///
    /// Throws the first error where `BrokenSamples.longestRun` samples in a row are broken.
    mutating func load(
        _ index: Int, of dataset: any ImageDataset, transforms: [any Transform], seed: UInt64 = 0, epoch: Int = 0,
        brokenSamples: BrokenSamples?, replacing: Bool
    ) throws -> PixelBuffer? {
        var first: DataError?
        for offset in 0..<min(dataset.count, BrokenSamples.longestRun) {
            let candidate = (index + offset) % dataset.count
            do {
                return try load(
                    candidate, of: dataset, transforms: transforms, seed: seed, epoch: epoch, identity: index)
            } catch let error as DataError {
                guard let brokenSamples, error.isAboutOneSample else { throw error }
                brokenSamples.note(.init(split: dataset.split, index: candidate, error: error))
                if !replacing { return nil }
                first = first ?? error
            }
        }
        throw first!
    }
}
