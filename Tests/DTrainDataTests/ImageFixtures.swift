internal import CZlib
import DTrainData
import DTrainTensor
import Foundation
import Testing

/// The files that `Fixtures/make_images.py` wrote, with Pillow's pixels.
enum ImageFixtures {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/Fixtures/images"
    static let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
        .filter { $0.hasSuffix(".jpg") || $0.hasSuffix(".png") }.sorted()
    static let height = 37, width = 53

    static func bytes(_ name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name)")))
    }

    /// Pillow's `convert("RGB")` (3 channels) or `convert("L")` (1) of a file.
    static func expected(_ name: String, channels: Int) throws -> [UInt8] {
        let compressed = try bytes(name + (channels == 3 ? ".rgb" : ".grey"))
        var pixels = [UInt8](repeating: 0, count: height * width * channels)
        var count = UInt(pixels.count)
        try #require(uncompress(&pixels, &count, compressed, UInt(compressed.count)) == Z_OK)
        try #require(count == pixels.count)
        return pixels
    }
}

/// Decodes a file in memory.
func decode(_ bytes: [UInt8], channels: Int = 3, _ decoder: ImageDecoder = ImageDecoder()) throws -> PixelBuffer {
    let image = PixelBuffer()
    try bytes.withUnsafeBytes { try decoder.decode($0, name: "a file", channels: channels, into: image) }
    return image
}

/// The folder `train` and `test` of small images: class i of `classes` has `counts[i]` training images and one test
/// image, each of one colour that tells class and number; PNG files.
func writeImages(to folder: TemporaryFolder, classes: [String], counts: [Int]) throws {
    for (label, name) in classes.enumerated() {
        for number in 0..<counts[label] {
            try folder.writePNG("train/\(name)/\(number).png", colour(label, number))
        }
        try folder.writePNG("test/\(name)/0.png", colour(label, 200))
    }
}

/// The colour of an image of `writeImages`.
func colour(_ label: Int, _ number: Int) -> [UInt8] { [UInt8(label * 20), UInt8(number), 77] }

extension TemporaryFolder {
    /// A PNG file of one colour.
    func writePNG(_ name: String, _ colour: [UInt8], height: Int = 4, width: Int = 5) throws {
        try write(pngOfOneColour(colour, height: height, width: width), name)
    }
}

/// A palette PNG file, by the book: signature, IHDR, PLTE with one colour, IDAT with zeros, IEND.
func pngOfOneColour(_ colour: [UInt8], height: Int, width: Int) -> [UInt8] {
    func word(_ value: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }
    func chunk(_ kind: String, _ data: [UInt8]) -> [UInt8] {
        let content = Array(kind.utf8) + data
        return word(data.count) + content + word(Int(crc32(0, content, UInt32(content.count))))
    }
    let rows = [UInt8](repeating: 0, count: height * (1 + width))
    var compressed = [UInt8](repeating: 0, count: rows.count + 64)
    var count = UInt(compressed.count)
    compress(&compressed, &count, rows, UInt(rows.count))
    return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
        + chunk("IHDR", word(width) + word(height) + [8, 3, 0, 0, 0])
        + chunk("PLTE", colour) + chunk("IDAT", Array(compressed[..<Int(count)])) + chunk("IEND", [])
}
