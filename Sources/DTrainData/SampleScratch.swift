import DTrainTensor

/// The memory in which one sample is read and transformed.
struct SampleScratch {
    private let memory: [AlignedMemory]
    private var sample: MemorySlice<UInt8>
    private var spare: MemorySlice<UInt8>
    /// The label of the sample that was read last.
    private(set) var label = 0

    init(byteCount: Int) {
        memory = (0..<2).map { _ in AlignedMemory(byteCount: byteCount) }
        sample = memory[0].slice()[0..<byteCount]
        spare = memory[1].slice()[0..<byteCount]
    }

    /// Reads sample `index` and applies `transforms`; the result is valid until the next call.
    mutating func load(
        _ index: Int, of dataset: any Dataset, transforms: [any Transform], seed: UInt64 = 0, epoch: Int = 0
    ) throws -> MemorySlice<UInt8> {
        label = try dataset.read(index, into: sample)
        for position in 0..<transforms.count {
            let random = SampleRandom(seed: seed, epoch: epoch, sample: index, transform: position)
            transforms[position].apply(sample, into: spare, random: random)
            swap(&sample, &spare)
        }
        return sample
    }
}
