import DTrainTensor

/// Fills batches with sequences for one loader thread: sorts a shard by length and packs its tokens.
final class SequencePacker: BatchFiller {
    /// Where sequences come from: the same for all threads of a loader.
    struct Source: BatchSource {
        let dataset: any SequenceDataset
        let sampler: Sampler

        func batch(capacity: Int) -> Batch {
            Batch(capacity: capacity, longest: dataset.longest, labelsEachToken: dataset.labelsEachToken)
        }
        func filler() -> any BatchFiller { SequencePacker(self) }
    }

    private let source: Source
    private var order: EpochOrder
    /// One sequence with its labels, and for each step the first row of it.
    private let memory: (tokens: AlignedMemory, labels: AlignedMemory, offsets: AlignedMemory)
    private let tokens: MemorySlice<Int32>
    private let labels: MemorySlice<Int32>
    private let offsets: MemorySlice<Int32>

    init(_ source: Source) {
        self.source = source
        order = EpochOrder(source.sampler)
        func integers(_ count: Int) -> AlignedMemory { AlignedMemory(byteCount: count * MemoryLayout<Int32>.stride) }
        let longest = source.dataset.longest
        memory = (integers(longest), integers(longest), integers(longest + 1))
        tokens = memory.tokens.slice()
        labels = memory.labels.slice()
        offsets = memory.offsets.slice()
    }

    func fill(_ batch: Batch, while shouldContinue: () -> Bool) throws -> Bool {
        let (item, dataset) = (batch.item, source.dataset)
        let samples = order.samples(of: item.epoch)
        let first = item.batch * source.sampler.batchSize
        let shard = item.shard
        sort(shard, into: batch) { dataset.length(of: samples[first + $0]) }
        // From here on `offsets` says where each step's rows begin.
        var tokenCount = 0
        var rows = shard.rows
        for step in 0..<dataset.longest {
            while rows > 0, batch.allLengths[rows - 1] <= step { rows -= 1 }
            offsets[step] = Int32(tokenCount)
            tokenCount += rows
        }
        for row in 0..<shard.rows {
            guard shouldContinue() else { return false }
            let length = Int(batch.allLengths[row])
            dataset.read(samples[first + Int(batch.allPositions[row])], into: tokens, labels: labels)
            for step in 0..<length {
                let place = Int(offsets[step]) + row
                batch.allTokens[place] = tokens[step]
                if batch.labelsEachToken { batch.allLabels[place] = labels[step] }
            }
            if !batch.labelsEachToken { batch.allLabels[row] = labels[0] }
        }
        batch.rows = shard.rows
        batch.tokenCount = tokenCount
        return true
    }

    /// Writes the lengths of the positions of `shard`, descending, and the positions: a counting sort, which leaves
    /// positions of one length in their order.
    private func sort(_ shard: Shard, into batch: Batch, length: (Int) -> Int) {
        let longest = source.dataset.longest
        offsets.fill(0)
        for position in shard.range { offsets[length(position)] += 1 }
        var row: Int32 = 0
        for length in stride(from: longest, through: 0, by: -1) {
            let count = offsets[length]
            offsets[length] = row
            row += count
        }
        for position in shard.range {
            let length = length(position)
            let row = Int(offsets[length])
            offsets[length] += 1
            batch.allLengths[row] = Int32(length)
            batch.allPositions[row] = Int32(position)
        }
    }
}
