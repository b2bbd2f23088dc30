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
    /// Height, width, channels.
    public let sampleShape: Shape

    /// The number of the work item that the buffers hold, or −1; the ring's lock guards it.
    var number = -1
    let allImages: MemorySlice<Float>
    let allLabels: MemorySlice<Int32>
    private let memory: (images: AlignedMemory, labels: AlignedMemory)

    init(capacity: Int, sampleShape: Shape) {
        self.sampleShape = sampleShape
        memory = (
            AlignedMemory(byteCount: capacity * sampleShape.count * MemoryLayout<Float>.stride),
            AlignedMemory(byteCount: capacity * MemoryLayout<Int32>.stride)
        )
        allImages = memory.images.slice()
        allLabels = memory.labels.slice()
    }
}
