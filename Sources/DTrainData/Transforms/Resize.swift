internal import CKernels
import DTrainTensor

/// A part of an image, in pixels.
public struct PixelRectangle: Hashable, Sendable {
    public var top: Int
    public var left: Int
    public var height: Int
    public var width: Int

    public init(top: Int, left: Int, height: Int, width: Int) {
        self.top = top
        self.left = left
        self.height = height
        self.width = width
    }
}

/// Resizes `source` to `height` × `width` pixels with the antialiased bilinear filter, byte for byte as Pillow's
/// `Image.resize(…, BILINEAR)`, which is what torchvision does to images.
///
/// Each output pixel is the mean of the input under a triangle that is twice as wide as the scale, at least two pixels:
/// along lines and across them, in the order of Pillow 13, each time rounded to bytes. (Earlier versions always begin along
/// lines, which changes some bytes by 1.) `target` is another buffer. Allocates nothing once the buffers have grown.
public func resizeBilinear(_ source: PixelBuffer, height: Int, width: Int, into target: PixelBuffer) {
    let whole = PixelRectangle(top: 0, left: 0, height: source.height, width: source.width)
    resizeBilinear(source, from: whole, height: height, width: width, into: target)
}

/// The same of a part of `source` alone: pixels outside `rectangle` do not count, as if it had been cut out before.
///
/// - Parameter window: of the result, the part that is computed and kept; by default all of it.
public func resizeBilinear(
    _ source: PixelBuffer, from rectangle: PixelRectangle, height: Int, width: Int, window: PixelRectangle? = nil,
    into target: PixelBuffer
) {
    let window = window ?? PixelRectangle(top: 0, left: 0, height: height, width: width)
    precondition(window.top >= 0 && window.height >= 1 && window.top + window.height <= height)
    precondition(window.left >= 0 && window.width >= 1 && window.left + window.width <= width)
    precondition(source !== target, "an image cannot be resized in place")
    precondition(height >= 1 && width >= 1 && rectangle.height >= 1 && rectangle.width >= 1)
    precondition(rectangle.top >= 0 && rectangle.top + rectangle.height <= source.height)
    precondition(rectangle.left >= 0 && rectangle.left + rectangle.width <= source.width)
    let channels = source.channels
    target.resize(height: window.height, width: window.width, channels: channels)
    let horizontal = BilinearFilter(
        from: rectangle.width, to: width, positions: window.left..<window.left + window.width)
    let vertical = BilinearFilter(
        from: rectangle.height, to: height, positions: window.top..<window.top + window.height)
    // Pillow goes across the lines first where that drops more than twice as many lines as there are columns to drop.
    let linesFirst = height >= rectangle.height || rectangle.height - height <= 2 * (rectangle.width - width)
    let betweenCount =
        channels * (linesFirst ? rectangle.height * window.width : window.height * rectangle.width)
    // Sixteen bytes for what the kernel may touch behind the last pixel, the tables on whole words.
    let tablesStart = (betweenCount + 16 + 63) / 64 * 64
    let workspace = target.workspace(byteCount: tablesStart + horizontal.byteCount + vertical.byteCount)
    let tables = UnsafeMutableRawPointer(workspace.base + tablesStart)
    let (firstColumns, columnWeights) = horizontal.write(to: tables)
    let (firstLines, lineWeights) = vertical.write(to: tables + horizontal.byteCount)

    let stride = source.width * channels
    let corner = source.bytes.base + rectangle.top * stride + rectangle.left * channels
    func alongLines(_ source: UnsafePointer<UInt8>, _ stride: Int, _ lines: Int, _ target: UnsafeMutablePointer<UInt8>)
    {
        dt_resize_lines(
            source, stride, lines, channels, firstColumns, columnWeights, horizontal.taps, target, window.width)
    }
    func acrossLines(_ source: UnsafePointer<UInt8>, _ stride: Int, _ width: Int, _ target: UnsafeMutablePointer<UInt8>)
    {
        dt_resize_columns(
            source, stride, width * channels, firstLines, lineWeights, vertical.taps, target, window.height)
    }
    let result = target.bytes.base
    switch (width == rectangle.width, height == rectangle.height) {
    case (true, true):
        copyWindow(
            of: source, top: rectangle.top + window.top, left: rectangle.left + window.left, height: window.height,
            width: window.width, into: target)
    case (true, false): acrossLines(corner + window.left * channels, stride, window.width, result)
    case (false, true): alongLines(corner + window.top * stride, stride, window.height, result)
    case (false, false) where linesFirst:
        alongLines(corner, stride, rectangle.height, workspace.base)
        acrossLines(workspace.base, window.width * channels, window.width, result)
    case (false, false):
        acrossLines(corner, stride, rectangle.width, workspace.base)
        alongLines(workspace.base, rectangle.width * channels, window.height, result)
    }
}

/// The weights of one axis: for each output pixel, where its neighbourhood starts and what each pixel counts.
private struct BilinearFilter {
    let sourceCount: Int
    /// The output pixels that are computed.
    let positions: Range<Int>
    /// The source pixels per target pixel.
    private let scale: Double
    /// Half the width of the triangle in source pixels: never less than 1, so that an enlargement interpolates.
    private let support: Double
    /// How many weights each output pixel has; those beyond its triangle are 0.
    let taps: Int

    init(from sourceCount: Int, to targetCount: Int, positions: Range<Int>) {
        self.sourceCount = sourceCount
        self.positions = positions
        scale = Double(sourceCount) / Double(targetCount)
        support = max(scale, 1)
        var most = 1
        for position in positions {
            most = max(most, Self.window(position, sourceCount, scale: scale, support: support).count)
        }
        taps = most
    }

    /// The size of the tables in bytes.
    var byteCount: Int { positions.count * (1 + taps) * MemoryLayout<Int32>.stride }

    /// Writes first pixels and weights, fixed point with `DT_RESIZE_BITS` fractional bits.
    func write(to memory: UnsafeMutableRawPointer) -> (first: UnsafePointer<Int32>, weights: UnsafePointer<Int32>) {
        let first = memory.bindMemory(to: Int32.self, capacity: positions.count * (1 + taps))
        let weights = first + positions.count
        let one = Double(1 << DT_RESIZE_BITS)
        for (row, position) in positions.enumerated() {
            let center = (Double(position) + 0.5) * scale
            let window = Self.window(position, sourceCount, scale: scale, support: support)
            // All windows have the same length: one that the border cuts starts earlier, with zeros.
            let start = min(window.lowerBound, sourceCount - taps)
            first[row] = Int32(start)
            func weight(_ pixel: Int) -> Double { max(0, 1 - abs((Double(pixel) - center + 0.5) * (1 / support))) }
            var sum = 0.0
            for pixel in window { sum += weight(pixel) }
            for tap in 0..<taps {
                let pixel = start + tap
                weights[row * taps + tap] =
                    window.contains(pixel) ? Int32(weight(pixel) / sum * one + 0.5) : 0
            }
        }
        return (UnsafePointer(first), UnsafePointer(weights))
    }

    /// The source pixels whose centres the triangle around output `position` may cover.
    private static func window(_ position: Int, _ sourceCount: Int, scale: Double, support: Double) -> Range<Int> {
        let center = (Double(position) + 0.5) * scale
        let lower = max(0, Int(center - support + 0.5))
        return lower..<min(sourceCount, Int(center + support + 0.5))
    }
}
