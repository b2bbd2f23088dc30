import DTrainTensor

/// The pixels of one image, in memory that is kept for the next one: height × width × channel bytes, rows contiguous.
///
/// A loader thread owns a few of them and decodes and transforms from one into the other.
public final class PixelBuffer {
    public private(set) var height: Int
    public private(set) var width: Int
    public private(set) var channels: Int
    private var memory: AlignedMemory
    private var scratch: AlignedMemory?

    /// A buffer for an image of `shape`; its bytes are zero.
    public init(_ shape: Shape = [0, 0, 1]) {
        (height, width, channels) = Self.extents(shape)
        memory = AlignedMemory(byteCount: shape.count + Self.slack)
    }

    /// Height, width, channels.
    public var shape: Shape { [height, width, channels] }
    /// Whether `shape` is the image's, without making an array of it.
    func hasShape(_ shape: Shape) -> Bool { height == shape[0] && width == shape[1] && channels == shape[2] }
    public var byteCount: Int { height * width * channels }
    /// The image's bytes; valid until `resize` or the end of the buffer. Kernels may touch up to 64 bytes behind them.
    public var bytes: MemorySlice<UInt8> { memory.slice()[0..<byteCount] }

    /// How many bytes behind the image belong to the buffer, so that kernels may work in whole vectors.
    private static let slack = 64

    /// Makes room for an image of `shape`, whose bytes are then undefined. Allocates only where the buffer is too small.
    public func resize(to shape: Shape) {
        let (height, width, channels) = Self.extents(shape)
        resize(height: height, width: width, channels: channels)
    }

    /// Makes room for an image, whose bytes are then undefined. Allocates only where the buffer is too small.
    public func resize(height: Int, width: Int, channels: Int) {
        (self.height, self.width, self.channels) = (height, width, channels)
        if byteCount + Self.slack > memory.byteCount { memory = AlignedMemory(byteCount: byteCount + Self.slack) }
    }

    /// Becomes the same image as `other`.
    func copy(_ other: PixelBuffer) {
        resize(height: other.height, width: other.width, channels: other.channels)
        bytes.copy(from: other.bytes)
    }

    /// Memory on 64 bytes for whoever writes this image, kept like the image's own; undefined, valid until the next call.
    func workspace(byteCount: Int) -> MemorySlice<UInt8> {
        if let scratch, scratch.byteCount >= byteCount { return scratch.slice()[0..<byteCount] }
        let larger = AlignedMemory(byteCount: byteCount)
        scratch = larger
        return larger.slice()[0..<byteCount]
    }

    private static func extents(_ shape: Shape) -> (height: Int, width: Int, channels: Int) {
        precondition(shape.rank == 3, "an image is height × width × channels, not \(shape)")
        return (shape[0], shape[1], shape[2])
    }
}
