import DTrainTensor

/// Sums the gradients of the shards that a rank runs one after the other, pairwise like a binary counter: equal numbers
/// of shards are added to each other, so that rounding grows with the logarithm of their number.
///
/// Every shard's gradients arise in the same arena. All but the last are put away here; while the last one's become
/// final, what is pending is added to them, part by part, so that their exchange can begin at once. For n shards it
/// holds ⌈log₂ n⌉ arenas, none for one. Nothing is allocated after `init`. The calling thread adds alone: parts become
/// final while the other threads compute on.
package final class GradientTree {
    package let shardCount: Int
    private let gradients: MemorySlice<Float>
    private let memory: [AlignedMemory]
    /// The sum of 2ˡ shards at level l, where bit l of the number of shards put away is set.
    private let levels: [MemorySlice<Float>]

    package init(gradients: MemorySlice<Float>, shardCount: Int) {
        precondition(shardCount >= 1)
        self.gradients = gradients
        self.shardCount = shardCount
        let levelCount = Int.bitWidth - (shardCount - 1).leadingZeroBitCount
        memory = (0..<levelCount).map { _ in AlignedMemory(byteCount: gradients.byteCount) }
        levels = memory.map { $0.slice(of: Float.self)[0..<gradients.count] }
    }

    /// Puts away the complete gradients of `shard`, which is not the last one.
    package func store(shard: Int) {
        precondition(shard < shardCount - 1)
        var level = 0
        while shard >> level & 1 == 1 {
            add(levels[level], 0..<gradients.count)
            level += 1
        }
        levels[level].copy(from: gradients)
    }

    /// Adds what was put away to the last shard's gradients in `range`, which thereby hold the sum of all shards.
    package func addPending(_ range: Range<Int>) {
        for level in levels.indices where (shardCount - 1) >> level & 1 == 1 { add(levels[level], range) }
    }

    private func add(_ addend: MemorySlice<Float>, _ range: Range<Int>) {
        let source = addend.base + range.lowerBound
        let target = gradients.base + range.lowerBound
        for index in 0..<range.count { target[index] += source[index] }
    }
}
