import DTrainTensor

/// The samples of one shard, ready for the model. Buffers belong to the loader and are used again.
public final class Batch: @unchecked Sendable {
    /// What a model reads.
    public enum Inputs: Sendable {
        /// Normalised pixels, row × height × width × channel, on 64 bytes.
        case images(MemorySlice<Float>)
        /// Tokens, packed: step after step, the longest sequence first.
        case tokens(MemorySlice<Int32>, PackedSequences)
    }

    /// What this batch is: epoch, step, and place in the global batch.
    public internal(set) var item = WorkItem(epoch: 0, batch: 0, step: 0, shard: Shard(offset: 0, rows: 0))
    /// The number of samples: the shard's, less those that an evaluation leaves out because their files are broken.
    public internal(set) var rows = 0
    /// The position in the global batch of the first sample; of sequences, `sequences` says each one's.
    public var firstPosition: Int { item.shard.offset }
    public var inputs: Inputs { tokenMemory == nil ? .images(images) : .tokens(tokens, sequences) }
    /// The class of each row; where each token has a label, those of the tokens, packed as they are.
    public var labels: MemorySlice<Int32> { allLabels[0..<(labelsEachToken ? tokenCount : rows)] }

    /// Of images, `rows` × `sampleShape.count` values.
    public var images: MemorySlice<Float> { allImages[0..<rows * sampleShape.count] }
    /// Height, width, channels.
    public let sampleShape: Shape
    /// The class of the sample that each row is mixed with; nil without mixing.
    public var partnerLabels: MemorySlice<Int32>? { partners?.partnerLabels }
    /// How much the row's own label counts, 0 … 1; the partner's counts the rest. Nil without mixing.
    public var mixWeights: MemorySlice<Float>? { partners?.weights }
    /// Both, for the loss; nil without mixing.
    public var partners: (partnerLabels: MemorySlice<Int32>, weights: MemorySlice<Float>)? {
        mixing.map { ($0.partnerLabels[0..<rows], $0.weights[0..<rows]) }
    }

    /// Of sequences, the tokens of all rows, packed.
    public var tokens: MemorySlice<Int32> { allTokens[0..<tokenCount] }
    /// The lengths of the rows, descending, and their positions in the global batch; of equal lengths, positions ascend.
    public var sequences: PackedSequences {
        PackedSequences(lengths: allLengths[0..<rows], positions: allPositions[0..<rows])
    }
    public internal(set) var tokenCount = 0
    public let labelsEachToken: Bool

    /// The number of the work item that the buffers hold, or −1; the ring's lock guards it.
    var number = -1
    let allImages: MemorySlice<Float>
    let allLabels: MemorySlice<Int32>
    let allTokens: MemorySlice<Int32>
    let allLengths: MemorySlice<Int32>
    let allPositions: MemorySlice<Int32>
    /// For all rows, where samples are mixed.
    let mixing: (partnerLabels: MemorySlice<Int32>, weights: MemorySlice<Float>)?
    private let memory: (images: AlignedMemory, labels: AlignedMemory)
    private let tokenMemory: (tokens: AlignedMemory, lengths: AlignedMemory, positions: AlignedMemory)?
    private let mixingMemory: (labels: AlignedMemory, weights: AlignedMemory)?

    private static func integers(_ count: Int) -> AlignedMemory {
        AlignedMemory(byteCount: count * MemoryLayout<Int32>.stride)
    }
    private static var none: MemorySlice<Int32> { MemorySlice(base: UnsafeMutablePointer(bitPattern: 64)!, count: 0) }

    /// For images.
    init(capacity: Int, sampleShape: Shape, mixes: Bool) {
        self.sampleShape = sampleShape
        labelsEachToken = false
        memory = (
            AlignedMemory(byteCount: capacity * sampleShape.count * MemoryLayout<Float>.stride), Self.integers(capacity)
        )
        allImages = memory.images.slice()
        allLabels = memory.labels.slice()
        mixingMemory =
            mixes ? (Self.integers(capacity), AlignedMemory(byteCount: capacity * MemoryLayout<Float>.stride)) : nil
        mixing = mixingMemory.map { ($0.labels.slice(), $0.weights.slice()) }
        tokenMemory = nil
        (allTokens, allLengths, allPositions) = (Self.none, Self.none, Self.none)
    }

    /// For sequences of at most `longest` tokens.
    init(capacity: Int, longest: Int, labelsEachToken: Bool) {
        sampleShape = [0]
        self.labelsEachToken = labelsEachToken
        memory = (
            AlignedMemory(byteCount: 0), Self.integers(labelsEachToken ? capacity * longest : capacity)
        )
        let integers = (Self.integers(capacity * longest), Self.integers(capacity), Self.integers(capacity))
        tokenMemory = integers
        allImages = memory.images.slice()
        allLabels = memory.labels.slice()
        allTokens = integers.0.slice()
        allLengths = integers.1.slice()
        allPositions = integers.2.slice()
        (mixing, mixingMemory) = (nil, nil)
    }
}
