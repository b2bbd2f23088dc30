internal import CZlib
import DTrainData
import DTrainTensor
import Foundation
import Testing

/// What torchvision makes of the patterns: `Fixtures/make_transforms.py` writes it.
struct TransformFixture {
    private let images: [String: (shape: Shape, bytes: [UInt8])]
    private let checksums: [String: UInt32]

    static let shared = Result { try TransformFixture() }

    init() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures")
        var rest = try Data(contentsOf: folder.appendingPathComponent("transforms.images"))[...]
        var images: [String: (Shape, [UInt8])] = [:]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let words = String(decoding: rest[rest.startIndex..<end], as: UTF8.self).split(separator: " ")
            let shape = Shape(words.dropFirst().map { Int($0)! })
            images[String(words[0])] = (shape, Array(rest[end + 1..<end + 1 + shape.count]))
            rest = rest[(end + 1 + shape.count)...]
        }
        self.images = images
        let text = try String(contentsOf: folder.appendingPathComponent("transforms.checksums"), encoding: .utf8)
        checksums = Dictionary(
            uniqueKeysWithValues: text.split(separator: "\n").map { line in
                let words = line.split(separator: " ")
                return (String(words[0]), UInt32(words[1], radix: 16)!)
            })
    }

    /// Compares with a record byte for byte.
    func expect(_ image: PixelBuffer, is name: String) throws {
        let (shape, bytes) = try #require(images[name], "no record \(name)")
        #expect(image.shape == shape, "\(name)")
        let actual = image.bytes.array()
        guard actual.count == bytes.count else { return }
        let wrong = bytes.indices.filter { actual[$0] != bytes[$0] }
        let first = wrong.prefix(5).map { "byte \($0) is \(actual[$0]), not \(bytes[$0])" }
        #expect(wrong.isEmpty, "\(name): \(wrong.count) of \(bytes.count) bytes differ: \(first)")
    }

    /// Compares with the checksum of a result.
    func expectChecksum(_ image: PixelBuffer, is name: String) throws {
        let expected = try #require(checksums[name], "no checksum \(name)")
        let actual = UInt32(crc32(0, image.bytes.base, UInt32(image.bytes.count)))
        #expect(actual == expected, "\(name)")
    }
}

/// A slope with noise, squeezed into `low` … `high`: the same pixels as those of the script.
func pattern(_ height: Int, _ width: Int, _ channels: Int, low: Int = 0, high: Int = 255) -> PixelBuffer {
    let image = PixelBuffer([height, width, channels])
    for y in 0..<height {
        for x in 0..<width {
            for c in 0..<channels {
                let index = (y * width + x) * channels + c
                var hash = UInt32(truncatingIfNeeded: index * 2_654_435_761 + 12345)
                hash ^= hash >> 15
                hash = hash &* 2_246_822_519
                hash ^= hash >> 13
                let value = min(255, x * 100 / width + y * 60 / height + c * 15 + Int(hash & 127))
                image.bytes[index] = UInt8(low + value * (high - low) / 255)
            }
        }
    }
    return image
}

/// The random numbers of one sample.
func draws(_ sample: Int) -> SampleRandom { SampleRandom(seed: 3, epoch: 0, sample: sample) }

extension PixelBuffer {
    /// What `transform` makes of this.
    func applying(_ transform: any Transform, sample: Int = 0) -> PixelBuffer {
        let result = PixelBuffer()
        transform.apply(self, into: result, random: draws(sample))
        #expect(result.shape == transform.outputShape(of: shape))
        return result
    }

    /// A copy, changed by `change`.
    func changed(by change: (PixelBuffer) -> Void) -> PixelBuffer {
        let result = PixelBuffer(shape)
        result.bytes.copy(from: bytes)
        change(result)
        return result
    }

    /// The bytes of pixel (`y`, `x`).
    func pixel(_ y: Int, _ x: Int) -> [UInt8] {
        (0..<channels).map { bytes[(y * width + x) * channels + $0] }
    }
}
