import DTrainTensor

/// Labelled sequences of characters.
public protocol SequenceDataset: Dataset {
    var vocabulary: Vocabulary { get }
    /// The most tokens that a sequence has; that of both splits.
    var longest: Int { get }
    /// Whether each token has a label of its own; otherwise each sequence has one.
    var labelsEachToken: Bool { get }
    /// Whether sample i + n continues sample i, where a batch has n samples: streams, whose samples keep their order and
    /// whose model may carry its state from batch to batch.
    var isStream: Bool { get }

    /// The tokens of sample `index`; 0 only for the part of a stream that has ended.
    func length(of index: Int) -> Int

    /// Writes the `length(of: index)` tokens of sample `index` and its labels: one, or as many.
    ///
    /// Several threads may call it at the same time. Allocates nothing.
    func read(_ index: Int, into tokens: MemorySlice<Int32>, labels: MemorySlice<Int32>)
}

extension SequenceDataset {
    /// The length of each sample, for a sampler that brings sequences of nearly one length together.
    public var lengths: [Int32] { (0..<count).map { Int32(length(of: $0)) } }
}
