import DTrainTensor

/// The pixels of one image, in memory that is kept for the next one: height × width × channel bytes, rows contiguous.
///
/// A loader thread owns a few of them and decodes and transforms from one into the other.
public final class PixelBuffer {
    /// Height, width, channels.
    public private(set) var shape: Shape
    private var memory: AlignedMemory

    /// A buffer for an image of `shape`; its bytes are zero.
    public init(_ shape: Shape = [0, 0, 1]) {
        self.shape = shape
        memory = AlignedMemory(byteCount: shape.count)
    }

    public var height: Int { shape[0] }
    public var width: Int { shape[1] }
    public var channels: Int { shape[2] }
    /// The image's bytes; valid until `resize` or the end of the buffer.
    public var bytes: MemorySlice<UInt8> { memory.slice()[0..<shape.count] }

    /// Makes room for an image of `shape`, whose bytes are then undefined. Allocates only where the buffer is too small.
    public func resize(to shape: Shape) {
        precondition(shape.rank == 3, "an image is height × width × channels, not \(shape)")
        self.shape = shape
        if shape.count > memory.byteCount { memory = AlignedMemory(byteCount: shape.count) }
    }
}
