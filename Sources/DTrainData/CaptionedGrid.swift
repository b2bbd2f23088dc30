import DTrainTensor

/// A picture of images, each above a few lines of text: what a model says of them.
public struct CaptionedGrid {
    /// An image and the lines below it.
    public struct Cell {
        let pixels: [UInt8]
        let shape: Shape
        public var lines: [String]

        /// Keeps a copy of the pixels.
        public init(_ image: PixelBuffer, lines: [String] = []) {
            shape = image.shape
            pixels = withExtendedLifetime(image) { image.bytes.array() }
            self.lines = lines
        }
    }

    private static let margin = 24
    private static let gap = 14
    private static let textScale = 2
    private static let smallestSide = 96
    private static let longestLine = 24

    private let cells: [Cell]
    private let columns: Int

    /// - Parameters:
    ///   - cells: at least one; all of the same number of channels.
    ///   - columns: in a row.
    public init(_ cells: [Cell], columns: Int = 6) {
        precondition(!cells.isEmpty && columns >= 1)
        self.cells = cells
        self.columns = min(columns, cells.count)
    }

    /// Draws it. Throws `PNGError.invalidSize` for channels other than 1 and 3.
    public func image() throws(PNGError) -> PNGImage {
        let scales = cells.map { max(1, Self.smallestSide / max($0.shape[0], $0.shape[1])) }
        let lines = cells.map { $0.lines.map { String($0.prefix(Self.longestLine)) } }
        let imageWidth = zip(cells, scales).map { $0.shape[1] * $1 }.max()!
        let textWidth = lines.joined().map { BitmapFont.width(of: $0) * Self.textScale }.max() ?? 0
        let width = max(imageWidth, textWidth)
        let imageHeight = zip(cells, scales).map { $0.shape[0] * $1 }.max()!
        let lineHeight = BitmapFont.lineHeight * Self.textScale
        let height = imageHeight + 8 + lineHeight * (lines.map(\.count).max() ?? 0)
        let rows = (cells.count + columns - 1) / columns
        var picture = try PNGImage(
            width: columns * (width + Self.gap) - Self.gap + 2 * Self.margin,
            height: rows * (height + Self.gap) - Self.gap + 2 * Self.margin, channels: cells[0].shape[2])
        for (index, cell) in cells.enumerated() {
            let x = Self.margin + index % columns * (width + Self.gap)
            let y = Self.margin + index / columns * (height + Self.gap)
            let memory = PixelBuffer(cell.shape)
            for (position, byte) in cell.pixels.enumerated() { memory.bytes[position] = byte }
            let left = x + (width - cell.shape[1] * scales[index]) / 2
            withExtendedLifetime(memory) {
                picture.draw(memory.bytes, shape: cell.shape, x: left, y: y, scale: scales[index])
            }
            for (line, text) in lines[index].enumerated() {
                let indent = (width - BitmapFont.width(of: text) * Self.textScale) / 2
                picture.draw(
                    text, x: x + indent, y: y + imageHeight + 8 + line * lineHeight, scale: Self.textScale,
                    value: line == 0 ? 0 : 96)
            }
        }
        return picture
    }
}
