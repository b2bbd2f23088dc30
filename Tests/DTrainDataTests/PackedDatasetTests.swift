import DTrainData
import DTrainTensor
import Foundation
import Testing

/// Packs `pair` and returns the file's path.
@discardableResult
func pack(_ pair: DatasetPair, in folder: TemporaryFolder, imageSize: Int? = nil, threads: Int = 2) throws -> String {
    let path = folder.path + "/data.packed"
    try PackedWriter(imageSize: imageSize, threadCount: threads).write(pair, to: path)
    return path
}

/// A folder of the fixtures in two classes: various formats, and two sizes.
func folderOfFixtures() throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    for (index, name) in ImageFixtures.names.enumerated() {
        let place = "\(index % 5 == 0 ? "test" : "train")/\(index % 2 == 0 ? "even" : "odd")/\(name)"
        try folder.write(ImageFixtures.bytes(name), place)
    }
    try folder.writePNG("train/even/large.png", [9, 8, 7], height: 100, width: 61)
    return folder
}

@Suite struct PackedDatasetTests {
    private func expectSame(_ first: any ImageDataset, _ second: any ImageDataset) throws {
        try #require(first.count == second.count)
        for index in 0..<first.count {
            let (a, b) = (PixelBuffer(), PixelBuffer())
            #expect(try first.read(index, into: a) == second.read(index, into: b))
            #expect(a.shape == b.shape && a.array() == b.array())
            #expect(try first.label(of: index) == second.label(of: index))
        }
    }

    @Test(arguments: [1, 3]) func holdsTheFolderSampleBySample(threads: Int) throws {
        let folder = try folderOfFixtures()
        let pair = try DataSpecification.images(directory: folder.path).openImages()
        let packed = try DataSpecification.parse("packed:" + pack(pair, in: folder, threads: threads)).openImages()
        try expectSame(pair.train, packed.train)
        try expectSame(pair.test, packed.test)
        #expect(packed.classNames == pair.classNames && packed.train.normalisation == pair.train.normalisation)
        #expect(packed.digest == pair.digest && packed.train.name == "images")
        #expect(packed.train.sizesMayDiffer && packed.sampleShape == pair.sampleShape)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == [
                "data.packed", "test", "train",
            ])
    }

    @Test func holdsOtherDataSetsToo() throws {
        let folder = try TemporaryFolder()
        let pair = try DataSpecification.parse("synthetic:5x7x2,4").openImages()
        let packed = try DataSpecification.packed(file: pack(pair, in: folder)).openImages()
        try expectSame(pair.test, packed.test)
        #expect(packed.train.count == pair.train.count && !packed.train.sizesMayDiffer && packed.digest == pair.digest)
    }

    @Test func theShorterSideComesToTheImageSizeAndSmallImagesStay() throws {
        let folder = try folderOfFixtures()
        let pair = try DataSpecification.images(directory: folder.path).openImages()
        let packed = try DataSpecification.packed(file: pack(pair, in: folder, imageSize: 40)).openImages()
        // 37×53 stays; 100×61 becomes 65×40.
        let shapes = try (0..<packed.train.count).map { index in
            let image = PixelBuffer()
            _ = try packed.train.read(index, into: image)
            return image.shape
        }
        #expect(
            shapes.filter { $0 == [65, 40, 3] }.count == 1
                && shapes.filter { $0 == [37, 53, 3] }.count == shapes.count - 1)
        #expect(packed.digest != pair.digest)
        let smaller = try DataSpecification.packed(file: pack(pair, in: folder, imageSize: 20)).openImages()
        #expect(smaller.sampleShape == [20, 28, 3] && smaller.digest != packed.digest)
        let (source, expected, actual) = (PixelBuffer(), PixelBuffer(), PixelBuffer())
        _ = try pair.train.read(3, into: source)
        resizeBilinear(source, height: 20, width: 28, into: expected)
        _ = try smaller.train.read(3, into: actual)
        #expect(actual.array() == expected.array())
    }

    @Test func brokenFilesAreLeftOutAsInTraining() throws {
        let folder = try TemporaryFolder()
        try writeImages(to: folder, classes: ["a", "b"], counts: [3, 2])
        try folder.write([1], "train/a/1.png")
        try folder.write([1], "test/a/0.png")
        let pair = try DataSpecification.images(directory: folder.path).openImages()
        let path = folder.path + "/packed"
        #expect(throws: DataError.self) { try PackedWriter().write(pair, to: path) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == ["test", "train"])
        let broken = BrokenSamples()
        try PackedWriter(brokenSamples: broken).write(pair, to: path)
        let packed = try DataSpecification.packed(file: path).openImages()
        #expect(packed.train.count == 5 && packed.test.count == 1 && broken.all.count == 2)
        #expect(try pixels(packed.train, 1).pixels == pixels(pair.train, 2).pixels)
        #expect(try pixels(packed.test, 0).label == 1)
    }

    // MARK: Errors

    private func reason(_ change: (inout [UInt8]) -> Void) throws -> String {
        let folder = try folderOfFixtures()
        let path = try pack(DataSpecification.images(directory: folder.path).openImages(), in: folder)
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        change(&bytes)
        try folder.write(bytes, "data.packed")
        let error = #expect(throws: DataError.self) { try DataSpecification.packed(file: path).openImages() }
        guard case .brokenPackedFile(path, let reason) = try #require(error) else { throw error! }
        return reason
    }

    @Test func damageIsNamed() throws {
        #expect(try reason { $0 = [] } == "it does not begin with 'dtpacked'")
        #expect(try reason { $0 = Array("dtpacked".utf8) } == "it ends in its header")
        #expect(try reason { $0[8] = 7 } == "it has format version 7, this program reads 1")
        #expect(try reason { $0[17] ^= 1 } == "its header is damaged")
        #expect(try reason { $0.removeLast() }.hasPrefix("its length of"))
        #expect(try reason { $0.append(0) }.hasPrefix("its length of"))
        #expect(try reason { $0[$0.count - 5] ^= 1 } == "its metadata are damaged")
        #expect(
            try reason { bytes in
                let index = bytes[16..<24].enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
                bytes[index + 8] ^= 1
            } == "its index is damaged")
    }

    @Test func aChangedPixelIsFoundWhenItIsRead() throws {
        let folder = try folderOfFixtures()
        let pair = try DataSpecification.images(directory: folder.path).openImages()
        let path = try pack(pair, in: folder)
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        bytes[64 + 37 * 53 * 3 + 11] ^= 1
        try folder.write(bytes, "data.packed")
        let packed = try DataSpecification.packed(file: path).openImages()
        _ = try pixels(packed.train, 0)
        #expect(
            throws: DataError.brokenImage(
                path: "sample 1 of the train split in \(path)", reason: "its pixels do not have their checksum")
        ) { try pixels(packed.train, 1) }
    }

    @Test func aFullDiskLeavesNothing() throws {
        let pair = try DataSpecification.parse("synthetic:8x8x3,2").openImages()
        let error = #expect(throws: DataError.self) { try PackedWriter().write(pair, to: "/no/such/folder/x") }
        guard case .unwritable(_, "No such file or directory") = try #require(error) else { throw error! }
    }
}
