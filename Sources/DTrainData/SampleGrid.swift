import DTrainTensor

/// A picture of some samples of a data set, each above the name of its class: the first ones, or, where the data are
/// sorted by class, evenly spread ones.
///
/// The lines at the top give name, split, number of samples and their shape, and how many samples each class has. Small
/// samples are magnified; where sizes differ, large ones are reduced.
public struct SampleGrid {
    public let columns: Int
    public let rows: Int
    private let dataset: any ImageDataset
    private let transforms: [any Transform]
    private let seed: UInt64
    /// What the samples have in common after the transforms; nil where sizes differ.
    private let shape: Shape?

    /// The sizes of the picture, in pixels.
    private enum Layout {
        static let margin = 24
        static let gap = 12
        static let textScale = 2
        static let titleScale = 3
        static let lineHeight = BitmapFont.lineHeight * textScale
        /// Samples are magnified by a whole number until their longer side has at least this many pixels.
        static let smallestSide = 84
        /// The longest side, in pixels, of what is shown of samples whose sizes differ.
        static let differingSide = 128
        /// Names of classes are cut to this number of characters.
        static let longestName = 16
    }

    /// - Parameters:
    ///   - transforms: what is done to the samples, with the random numbers of `seed` and epoch 0.
    ///   - columns: the number of samples in a row. It is lowered where large samples would make the picture too wide.
    ///   - rows: the most rows; fewer if the data set has fewer samples.
    public init(
        _ dataset: any ImageDataset, transforms: [any Transform] = [], seed: UInt64 = 0, columns: Int = 12, rows: Int = 8
    ) {
        precondition(columns >= 1 && rows >= 1)
        self.dataset = dataset
        self.transforms = transforms
        self.seed = seed
        let sizesDiffer = dataset.sizesMayDiffer && !transforms.contains(where: \.fixesSize)
        shape = sizesDiffer ? nil : dataset.sampleShape(after: transforms)
        let widest = max(1, 2400 / (Self.frame(shape).width + Layout.gap))
        self.columns = min(columns, widest, max(dataset.count, 1))
        self.rows = min(rows, (dataset.count + self.columns - 1) / self.columns)
    }

    /// Draws the picture: grey for samples of one channel, RGB for three.
    ///
    /// Throws what reading a sample throws, or `PNGError.invalidSize` for another number of channels.
    public func image() throws -> PNGImage {
        let frame = Self.frame(shape)
        let shown = min(columns * rows, dataset.count)
        let names = dataset.classNames.map(Self.shortened)
        let indices = try shownIndices(shown)
        let labels = try indices.map { try dataset.label(of: $0) }
        let labelWidth = labels.map { BitmapFont.width(of: names[$0]) * Layout.textScale }.max() ?? 0
        let cellWidth = max(frame.width, labelWidth)
        let cellHeight = frame.height + 8 + Layout.lineHeight

        let title = "\(dataset.name), \(dataset.split == .train ? "training" : "test") split"
        let size = shape.map { "of " + $0.dimensions.map(String.init).joined(separator: "x") } ?? "of various sizes"
        let subtitle = "\(Self.grouped(dataset.count)) samples \(size)"
        let gridWidth = columns * cellWidth + (columns - 1) * Layout.gap
        let contentWidth = max(
            gridWidth, BitmapFont.width(of: title) * Layout.titleScale,
            BitmapFont.width(of: subtitle) * Layout.textScale)
        let counts = Self.wrapped(
            zip(names, try dataset.countPerClass()).map { "\($0): \(Self.grouped($1))" },
            toCharacters: contentWidth / (BitmapFont.advance * Layout.textScale))

        let subtitleY = Layout.margin + BitmapFont.lineHeight * Layout.titleScale + Layout.gap / 2
        let countsY = subtitleY + Layout.lineHeight
        let gridY = countsY + counts.count * Layout.lineHeight + 2 * Layout.gap
        var image = try PNGImage(
            width: contentWidth + 2 * Layout.margin,
            height: gridY + rows * cellHeight + (rows - 1) * Layout.gap + Layout.margin,
            channels: dataset.sampleShape[2])
        image.draw(title, x: Layout.margin, y: Layout.margin, scale: Layout.titleScale)
        image.draw(subtitle, x: Layout.margin, y: subtitleY, scale: Layout.textScale, value: 64)
        for (line, text) in counts.enumerated() {
            image.draw(
                text, x: Layout.margin, y: countsY + line * Layout.lineHeight, scale: Layout.textScale, value: 112)
        }

        var scratch = SampleScratch()
        let reduced = PixelBuffer()
        for index in 0..<shown {
            var sample = try scratch.load(indices[index], of: dataset, transforms: transforms, seed: seed)
            if shape == nil, let size = Self.reducedSize(sample.height, sample.width) {
                resizeBilinear(sample, height: size.height, width: size.width, into: reduced)
                sample = reduced
            }
            let scale = Self.magnification(sample.shape)
            let (height, width) = (sample.height * scale, sample.width * scale)
            let x = Layout.margin + index % columns * (cellWidth + Layout.gap)
            let y = gridY + index / columns * (cellHeight + Layout.gap)
            let imageX = x + (cellWidth - width) / 2, imageY = y + (frame.height - height) / 2
            // A thin frame, or white samples would float.
            image.fill(x: imageX - 1, y: imageY - 1, width: width + 2, height: height + 2, value: 192)
            withExtendedLifetime(sample) {
                image.draw(sample.bytes, shape: sample.shape, x: imageX, y: imageY, scale: scale)
            }
            let name = names[labels[index]]
            let nameX = x + (cellWidth - BitmapFont.width(of: name) * Layout.textScale) / 2
            image.draw(name, x: nameX, y: y + frame.height + 8, scale: Layout.textScale, value: 32)
        }
        return image
    }

    /// The first `count` samples, or, where those are all of one class because the data are sorted, evenly spread ones.
    private func shownIndices(_ count: Int) throws -> [Int] {
        let first = try dataset.label(of: 0)
        let areAlike = try (0..<count).allSatisfy { try dataset.label(of: $0) == first }
        return (0..<count).map { areAlike ? $0 * dataset.count / count : $0 }
    }

    /// The room for one sample: as large as a sample of `shape` is drawn, or a square for differing ones.
    private static func frame(_ shape: Shape?) -> (height: Int, width: Int) {
        guard let shape else { return (Layout.differingSide, Layout.differingSide) }
        let scale = magnification(shape)
        return (shape[0] * scale, shape[1] * scale)
    }

    private static func magnification(_ shape: Shape) -> Int {
        let side = max(shape[0], shape[1])
        return max(1, (Layout.smallestSide + side - 1) / side)
    }

    /// The size at which a large sample among differing ones is shown; nil where its own will do.
    private static func reducedSize(_ height: Int, _ width: Int) -> (height: Int, width: Int)? {
        let side = max(height, width)
        guard side > Layout.differingSide else { return nil }
        return (max(1, height * Layout.differingSide / side), max(1, width * Layout.differingSide / side))
    }

    /// `name`, or its beginning and two dots.
    private static func shortened(_ name: String) -> String {
        name.count <= Layout.longestName ? name : name.prefix(Layout.longestName - 2) + ".."
    }

    /// `10,000` for 10000.
    private static func grouped(_ number: Int) -> String {
        var digits = String(number)
        var position = digits.count - 3
        while position > 0 {
            digits.insert(",", at: digits.index(digits.startIndex, offsetBy: position))
            position -= 3
        }
        return digits
    }

    /// Joins `parts` into lines of at most `limit` characters, at most four: of a thousand classes the rest is left
    /// out.
    private static func wrapped(_ parts: [String], toCharacters limit: Int) -> [String] {
        var lines = [""]
        for part in parts {
            let line = lines[lines.count - 1]
            if line.isEmpty {
                lines[lines.count - 1] = part
            } else if line.count + 2 + part.count <= (lines.count < 4 ? limit : limit - 4) {
                lines[lines.count - 1] = line + "  " + part
            } else if lines.count < 4 {
                lines.append(part)
            } else {
                lines[3] = line + " ..."
                break
            }
        }
        return lines
    }
}
