import DTrainCollectives
import DTrainTensor

/// What compressed sums have left out of the gradients, on every rank that trains: part of a run's state.
///
/// A rank has its own residuals, whose sum is what the parameters have not seen yet. A checkpoint holds those of all
/// ranks, by parameter: `conv1.weight.residual.0`, `.1` and so on. A run that goes on gives rank r those of the ranks r,
/// r + n, r + 2n … of the checkpoint, n being the ranks that train now: with as many ranks each has its own again, bit
/// for bit, and with another number of them nothing is lost.
package final class GradientResiduals {
    /// This rank's, one a gradient; nil where gradients are not compressed, or this rank does not train.
    package let own: MemorySlice<Float>?

    private let layout: ParameterLayout
    private let trainingRanks: Int
    /// The world's rank of the first rank that trains.
    private let firstTrainer: Int
    private let isNeeded: Bool
    private let memory: AlignedMemory
    /// What rank 0 has read for the ranks that train; empty again once they have it.
    private var read: [AlignedMemory] = []

    /// - Parameters:
    ///   - hosts: a number for the ranks that share memory with each training rank. Where all do, nothing is compressed.
    ///   - isDedicated: rank 0 does not train.
    ///   - trains: whether this rank does.
    package init(
        _ compression: GradientCompression, layout: ParameterLayout, hosts: [Int], isDedicated: Bool, trains: Bool
    ) {
        self.layout = layout
        trainingRanks = hosts.count
        firstTrainer = isDedicated ? 1 : 0
        isNeeded = compression != .none && Set(hosts).count > 1
        let isKept = isNeeded && trains
        memory = AlignedMemory(byteCount: isKept ? layout.trainableCount * MemoryLayout<Float>.stride : 0)
        own = isKept ? memory.slice()[0..<layout.trainableCount] : nil
    }

    /// The number of ranks whose residuals a checkpoint holds.
    var savedRanks: Int { isNeeded ? trainingRanks : 0 }

    // MARK: Into a checkpoint

    /// Sends this rank's residuals to the world's rank 0, which waits in `collect`: for as long as that takes.
    package func send(over queue: CommunicationQueue) throws {
        guard let own, queue.rank != 0 else { return }
        try queue.run(.send(own.rawBytes, to: 0, tag: MessageTag.residual.rawValue, waitsIndefinitely: true))
    }

    /// On the world's rank 0: fills `arenas`, one a training rank. `receive` waits for bytes from a rank of the world.
    package func collect(into arenas: [MemorySlice<Float>], receive: (MemorySlice<UInt8>, _ rank: Int) throws -> Void)
        throws
    {
        for (index, arena) in arenas.enumerated() {
            if firstTrainer + index == 0 {
                arena.copy(from: own!)
            } else {
                try receive(arena.rawBytes, firstTrainer + index)
            }
        }
    }

    /// Copies of `arenas`, one a training rank, for a checkpoint.
    package static func tensors(of arenas: [MemorySlice<Float>], _ layout: ParameterLayout) -> [NamedTensor] {
        arenas.enumerated().flatMap { NamedArena(layout, $1, suffix: suffix(rank: $0)).tensors() }
    }

    private static func suffix(rank: Int) -> String { ".residual.\(rank)" }

    // MARK: From a checkpoint

    /// On the world's rank 0: reads the residuals of all ranks in a checkpoint, and returns the tensors that are left, with
    /// the number of ranks. A checkpoint of one rank has none.
    package func take(from tensors: [NamedTensor]) throws(TensorMismatch) -> (others: [NamedTensor], ranks: Int) {
        var ranks = 0
        var remaining = tensors
        while true {
            let suffix = Self.suffix(rank: ranks)
            let found = remaining.filter { $0.name.hasSuffix(suffix) }
            if found.isEmpty { return (remaining, ranks) }
            remaining.removeAll { $0.name.hasSuffix(suffix) }
            try add(found, suffix: suffix, rank: ranks)
            ranks += 1
        }
    }

    /// Adds what rank `rank` of the checkpoint had to what a rank gets.
    private func add(_ tensors: [NamedTensor], suffix: String, rank: Int) throws(TensorMismatch) {
        let count = layout.trainableCount
        let byteCount = count * MemoryLayout<Float>.stride
        let loaded = AlignedMemory(byteCount: byteCount)
        let values: MemorySlice<Float> = loaded.slice()[0..<count]
        try NamedArena.fill([NamedArena(layout, values, suffix: suffix)], from: tensors)
        guard isNeeded else { return }
        if read.isEmpty { read = (0..<trainingRanks).map { _ in AlignedMemory(byteCount: byteCount) } }
        let target: MemorySlice<Float> = read[rank % trainingRanks].slice()[0..<count]
        if rank < trainingRanks {
            target.copy(from: values)
        } else {
            for index in 0..<count { target[index] += values[index] }
        }
        withExtendedLifetime(loaded) {}
    }

    /// Gives every rank that trains what rank 0 has read. All ranks call it.
    package func distribute(over queue: CommunicationQueue) throws {
        guard isNeeded else { return }
        for index in 0..<trainingRanks {
            let rank = firstTrainer + index
            if queue.rank == 0 {
                let values: MemorySlice<Float> = read[index].slice()[0..<layout.trainableCount]
                if rank == 0 {
                    own!.copy(from: values)
                } else {
                    try queue.run(.send(values.rawBytes, to: rank, tag: MessageTag.residual.rawValue))
                }
            } else if queue.rank == rank {
                try queue.run(.receive(own!.rawBytes, from: 0, tag: MessageTag.residual.rawValue))
            }
        }
        read = []
    }
}
