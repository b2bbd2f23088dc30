import DTrainTensor

/// The samples of one shard, ready for the model. Buffers belong to the loader and are used again.
public final class Batch: @unchecked Sendable {
    /// What this batch is: epoch, step, and place in the global batch.
    public internal(set) var item = WorkItem(epoch: 0, batch: 0, step: 0, shard: Shard(offset: 0, rows: 0))
    /// The number of samples: the shard's, less those that an evaluation leaves out because their files are broken.
    public internal(set) var rows = 0
    /// The position in the global batch of the first sample.
    public var firstPosition: Int { item.shard.offset }
    /// Normalised pixels, row × height × width × channel: `rows` × `sampleShape.count` values, on 64 bytes.
    public var images: MemorySlice<Float> { allImages[0..<rows * sampleShape.count] }
    /// The class of each row.
    public var labels: MemorySlice<Int32> { allLabels[0..<rows] }
    /// The class of the sample that each row is mixed with; nil without mixing.
    public var partnerLabels: MemorySlice<Int32>? { partners?.partnerLabels }
    /// How much the row's own label counts, 0 … 1; the partner's counts the rest. Nil without mixing.
    public var mixWeights: MemorySlice<Float>? { partners?.weights }
    /// Both, for the loss; nil without mixing.
    public var partners: (partnerLabels: MemorySlice<Int32>, weights: MemorySlice<Float>)? {
        mixing.map { ($0.partnerLabels[0..<rows], $0.weights[0..<rows]) }
    }
    /// Height, width, channels.
    public let sampleShape: Shape

    /// The number of the work item that the buffers hold, or −1; the ring's lock guards it.
    var number = -1
    let allImages: MemorySlice<Float>
    let allLabels: MemorySlice<Int32>
    /// For all rows, where samples are mixed.
    let mixing: (partnerLabels: MemorySlice<Int32>, weights: MemorySlice<Float>)?
    private let memory: (images: AlignedMemory, labels: AlignedMemory)
    private let mixingMemory: (labels: AlignedMemory, weights: AlignedMemory)?

    init(capacity: Int, sampleShape: Shape, mixes: Bool) {
        self.sampleShape = sampleShape
        memory = (
            AlignedMemory(byteCount: capacity * sampleShape.count * MemoryLayout<Float>.stride),
            AlignedMemory(byteCount: capacity * MemoryLayout<Int32>.stride)
        )
        allImages = memory.images.slice()
        allLabels = memory.labels.slice()
        mixingMemory =
            mixes
            ? (
                AlignedMemory(byteCount: capacity * MemoryLayout<Int32>.stride),
                AlignedMemory(byteCount: capacity * MemoryLayout<Float>.stride)
            ) : nil
        mixing = mixingMemory.map { ($0.labels.slice(), $0.weights.slice()) }
    }
}
