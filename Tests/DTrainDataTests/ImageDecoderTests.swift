import DTrainData
import DTrainTensor
import Foundation
import Testing

@Suite struct ImageDecoderTests {
    @Test func thereIsAFixtureOfEveryKind() {
        #expect(ImageFixtures.names.count == 28)
    }

    @Test(arguments: ImageFixtures.names, [3, 1]) func pixelsAreThoseOfPillow(name: String, channels: Int) throws {
        let image = try decode(ImageFixtures.bytes(name), channels: channels)
        #expect(image.shape == [ImageFixtures.height, ImageFixtures.width, channels])
        let expected = try ImageFixtures.expected(name, channels: channels)
        let worst = zip(image.array(), expected).map { abs(Int($0) - Int($1)) }.max()!
        #expect(worst <= (name.hasSuffix(".jpg") ? 1 : 0), "\(name): a pixel is off by \(worst)")
    }

    /// One decoder takes files of all kinds one after the other, broken ones in between.
    @Test func aDecoderIsUsedAgain() throws {
        let decoder = ImageDecoder()
        for name in ImageFixtures.names + ImageFixtures.names.reversed() {
            let bytes = try ImageFixtures.bytes(name)
            #expect(throws: DataError.self) { try decode(Array(bytes.prefix(bytes.count / 2)), channels: 3, decoder) }
            #expect(try decode(bytes, channels: 3, decoder).array() == decode(bytes).array(), "\(name)")
            // A marker that does not exist, which TurboJPEG 2.1 would see in every later file.
            let damaged = Array(bytes[..<3]) + [0x80] + Array(bytes[4...])
            #expect(throws: DataError.self) { try decode(damaged, channels: 3, decoder) }
        }
    }

    @Test func theContentDecidesAndNotTheName() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(ImageFixtures.bytes("rgb.png"), "picture.jpg")
        let image = PixelBuffer()
        try ImageDecoder().decode(path: path, channels: 3, into: image)
        #expect(try image.array() == ImageFixtures.expected("rgb.png", channels: 3))
    }

    // MARK: Errors

    private func reason(_ bytes: [UInt8]) throws -> String {
        let error = #expect(throws: DataError.self) { try decode(bytes) }
        guard case .brokenImage("a file", let reason) = try #require(error) else { throw error! }
        return reason
    }

    @Test(arguments: ["baseline-420.jpg", "progressive.jpg", "rgb.png", "rgb-interlaced.png"])
    func aFileThatIsCutOffAnywhereIsBroken(name: String) throws {
        let bytes = try ImageFixtures.bytes(name)
        for count in stride(from: 0, to: bytes.count - 2, by: 37) {
            #expect(throws: DataError.self, "\(name) cut after \(count) bytes") { try decode(Array(bytes[..<count])) }
        }
    }

    @Test func whatIsNoImageSaysSo() throws {
        #expect(try reason([]) == "the file is empty")
        #expect(try reason(Array("<html>".utf8)) == "it is neither a JPEG nor a PNG file")
        #expect(try reason([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0]) == "the file ends in its header")
    }

    @Test func aChangedPixelOfAPNGFileIsFoundByItsChecksum() throws {
        var bytes = try ImageFixtures.bytes("grey-16bit.png")
        bytes[bytes.count - 30] ^= 1
        #expect(try reason(bytes).hasPrefix("IDAT: "))
    }

    @Test func damagedCodesAreBrokenAndBytesBetweenMarkersAreNot() throws {
        let bytes = try ImageFixtures.bytes("baseline-444.jpg")
        var damaged = bytes
        for index in 0..<10 { damaged[bytes.count - 400 + index] = index % 2 == 0 ? 0xFF : 0 }
        #expect(try reason(damaged).hasPrefix("Corrupt JPEG data"))
        let padded = Array(bytes[..<2]) + [0, 1, 2] + Array(bytes[2...])
        #expect(try decode(padded).array() == decode(bytes).array())
    }

    /// 65,000 × 65,000 pixels announced by a small file: 12 GB if it were believed.
    @Test func aSizeThatTheFileCannotHoldTakesNoMemory() throws {
        var jpeg = try ImageFixtures.bytes("baseline-420.jpg")
        let frame = try #require((0..<jpeg.count - 1).first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC0 })
        jpeg.replaceSubrange(frame + 5..<frame + 9, with: [0xFD, 0xE8, 0xFD, 0xE8])
        #expect(try reason(jpeg) == "it announces 65000×65000 pixels, more than \(jpeg.count) bytes can hold")
        var png = try ImageFixtures.bytes("rgb.png")
        png.replaceSubrange(16..<24, with: [0, 0, 0xFD, 0xE8, 0, 0, 0xFD, 0xE8])
        #expect(try reason(png) == "it announces 65000×65000 pixels, more than \(png.count) bytes can hold")
        png.replaceSubrange(16..<24, with: [0, 0, 0, 0, 0, 0, 0, 5])
        #expect(try reason(png) == "it announces an image of 0×5 pixels")
        png += [UInt8](repeating: 0, count: 600_000)
        png.replaceSubrange(16..<24, with: [0, 0, 0x2F, 0, 0, 0, 0x2F, 0])
        #expect(try reason(png).hasPrefix("it announces 12032×12032 pixels, more than 134217728"))
    }

    @Test func filesThatCannotBeReadAreNamed() throws {
        let folder = try TemporaryFolder()
        let image = PixelBuffer()
        #expect(throws: DataError.unreadable(path: folder.path + "/a.jpg", reason: "No such file or directory")) {
            try ImageDecoder().decode(path: folder.path + "/a.jpg", channels: 3, into: image)
        }
        #expect(throws: DataError.unreadable(path: folder.path, reason: "it is not a regular file")) {
            try ImageDecoder().decode(path: folder.path, channels: 3, into: image)
        }
    }
}
