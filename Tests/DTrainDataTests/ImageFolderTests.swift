import DTrainData
import DTrainTensor
import Foundation
import Testing

@Suite struct ImageFolderTests {
    private func open(_ folder: TemporaryFolder) throws -> DatasetPair {
        try DataSpecification.images(directory: folder.path).openImages()
    }

    @Test func samplesAreSortedByClassAndName() throws {
        let folder = try TemporaryFolder()
        try writeImages(to: folder, classes: ["b", "a", "Z"], counts: [2, 3, 1])
        let pair = try open(folder)
        #expect(pair.classNames == ["Z", "a", "b"])
        #expect(pair.train.count == 6 && pair.test.count == 3)
        let samples = try (0..<6).map { try pixels(pair.train, $0) }
        #expect(samples.map(\.label) == [0, 1, 1, 1, 2, 2])
        let colours = [colour(2, 0), colour(1, 0), colour(1, 1), colour(1, 2), colour(0, 0), colour(0, 1)]
        #expect(samples.map { Array($0.pixels[..<3]) } == colours)
        #expect(try (0..<6).map { try pair.train.label(of: $0) } == samples.map(\.label))
        #expect(pair.train.sampleName(4) == "\(folder.path)/train/b/0.png")
        #expect(pair.sampleShape == [4, 5, 3] && pair.train.sizesMayDiffer)
        #expect(pair.train.normalisation.mean == [0.485, 0.456, 0.406])
    }

    @Test func namesAreSortedAsBytesAndMayHaveAnyLetters() throws {
        let folder = try TemporaryFolder()
        for name in ["train", "test"] {
            for (number, file) in ["ä.png", "z.PNG", "10.JPEG", "9.Jpg", "A.jpg"].enumerated() {
                try folder.writePNG("\(name)/x/\(file)", colour(number, 0))
            }
        }
        let train = try open(folder).train
        #expect(
            (0..<5).map { train.sampleName($0).split(separator: "/").last! }
                == ["10.JPEG", "9.Jpg", "A.jpg", "z.PNG", "ä.png"])
        #expect(try pixels(train, 4).pixels[0] == colour(0, 0)[0])
    }

    @Test func whatIsNoImageIsPassedOver() throws {
        let folder = try TemporaryFolder()
        try writeImages(to: folder, classes: ["a"], counts: [1])
        try folder.write([1], "train/a/.hidden.png")
        try folder.write([1], "train/a/notes.txt")
        try folder.write([1], "train/a/png")
        try folder.write([1], "train/a/folder.png/file")
        try folder.write([1], "train/.git/x.png")
        try folder.write([1], "train/list.png")
        #expect(try open(folder).train.count == 1)
    }

    @Test func symbolicLinksAreFollowed() throws {
        let folder = try TemporaryFolder()
        try writeImages(to: folder, classes: ["a"], counts: [2])
        try FileManager.default.createSymbolicLink(
            atPath: folder.path + "/train/b", withDestinationPath: folder.path + "/train/a")
        try FileManager.default.createSymbolicLink(
            atPath: folder.path + "/train/a/2.png", withDestinationPath: folder.path + "/test/a/0.png")
        try folder.writePNG("val/a/1.png", [1, 2, 3])
        try folder.writePNG("val/b/1.png", [1, 2, 3])
        try FileManager.default.removeItem(atPath: folder.path + "/test/a/0.png")
        try FileManager.default.removeItem(atPath: folder.path + "/test")
        let pair = try open(folder)
        #expect(pair.classNames == ["a", "b"] && pair.train.count == 6 && pair.test.count == 2)
        // The link's target is gone: the file is there and cannot be read.
        #expect(throws: DataError.self) { try pixels(pair.train, 2) }
    }

    @Test func theDigestTellsNamesSizesAndClassesApart() throws {
        func digest(_ change: (TemporaryFolder) throws -> Void) throws -> String {
            let folder = try TemporaryFolder()
            try writeImages(to: folder, classes: ["a", "b"], counts: [2, 2])
            try change(folder)
            return try open(folder).digest
        }
        func move(_ folder: TemporaryFolder, _ old: String, _ new: String) throws {
            try FileManager.default.moveItem(atPath: "\(folder.path)/\(old)", toPath: "\(folder.path)/\(new)")
        }
        let original = try digest { _ in }
        #expect(try digest { _ in } == original)
        let others = try [
            digest { try move($0, "train/a/0.png", "train/a/3.png") },
            digest { try move($0, "train/a/0.png", "train/b/3.png") },
            digest { try move($0, "train/a/1.png", "train/b/1.jpg") },
            digest { try $0.writePNG("test/a/0.png", [1, 1, 1], height: 400, width: 400) },
            digest {
                try move($0, "train/a", "train/c")
                try move($0, "test/a", "test/c")
            },
        ]
        #expect(Set(others + [original]).count == 6)
    }

    // MARK: Errors

    private func failure(_ change: (TemporaryFolder) throws -> Void) throws -> (error: DataError, folder: String) {
        let folder = try TemporaryFolder()
        try writeImages(to: folder, classes: ["a", "b"], counts: [2, 1])
        try change(folder)
        let error = #expect(throws: DataError.self) { try open(folder) }
        return (try #require(error), folder.path)
    }

    @Test func missingFoldersAreNamed() throws {
        let (error, folder) = try failure { try FileManager.default.removeItem(atPath: $0.path + "/train") }
        #expect(error == .notFound(what: "training images", tried: [folder + "/train"]))
        let (other, path) = try failure { try FileManager.default.removeItem(atPath: $0.path + "/test") }
        #expect(other == .notFound(what: "test images", tried: [path + "/test", path + "/val"]))
    }

    @Test func aFolderWithoutClassesAndAClassWithoutImagesAreErrors() throws {
        let (error, folder) = try failure {
            try FileManager.default.removeItem(atPath: $0.path + "/train")
            try $0.write([1], "train/a.png")
        }
        #expect(error == .noClasses(path: folder + "/train"))
        let (other, path) = try failure { try FileManager.default.removeItem(atPath: $0.path + "/test/b/0.png") }
        #expect(other == .emptyClass(path: path + "/test/b"))
    }

    @Test func classesThatDifferAreNamed() throws {
        let (error, folder) = try failure {
            try $0.writePNG("train/only-here/0.png", [1, 2, 3])
            try $0.writePNG("test/c/0.png", [1, 2, 3])
        }
        #expect(
            error
                == .classesDiffer(
                    first: folder + "/train", second: folder + "/test", onlyFirst: ["only-here"], onlySecond: ["c"]))
        #expect("\(error)".contains("only the first has only-here; only the second has c"))
    }

    @Test func aFolderOfBrokenFilesCannotBeOpened() throws {
        let (error, folder) = try failure {
            for name in ["a/0", "a/1", "b/0"] { try $0.write([1, 2, 3], "train/\(name).png") }
        }
        #expect(error == .brokenImage(path: folder + "/train/a/0.png", reason: "it is neither a JPEG nor a PNG file"))
    }

    // MARK: Sizes

    @Test func aSampleOfAnotherSizeThanTheModelsIsNamed() throws {
        let folder = try TemporaryFolder()
        try writeImages(to: folder, classes: ["a"], counts: [3])
        try folder.writePNG("train/a/1.png", [1, 2, 3], height: 6, width: 7)
        let pair = try open(folder)
        #expect(pair.train.sampleShape(after: []) == [4, 5, 3])
        let loader = DataLoader.evaluation(dataset: pair.train, rank: 0, rankCount: 1, rows: 1)
        #expect(try loader.next()?.images.count == 60)
        let error = DataError.wrongSampleSize(
            sample: folder.path + "/train/a/1.png", expected: [4, 5, 3], actual: [6, 7, 3])
        #expect(throws: error) { try loader.next() }
        #expect("\(error)".contains("is 6×7×3") && "\(error)".contains("takes 4×5×3"))
        // Broken samples are left out, but this one is not broken.
        let lenient = DataLoader.evaluation(
            dataset: pair.train, rank: 0, rankCount: 1, rows: 3, brokenSamples: BrokenSamples())
        #expect(throws: error) { try lenient.next() }
    }

    @Test func aTransformMakesSizesEqual() throws {
        let folder = try TemporaryFolder()
        try writeImages(to: folder, classes: ["a"], counts: [3])
        try folder.writePNG("train/a/1.png", [1, 2, 3], height: 6, width: 7)
        let pair = try open(folder), resizing = [Resizing(height: 2, width: 3)]
        #expect(pair.train.sampleShape(after: resizing) == [2, 3, 3])
        let loader = DataLoader.evaluation(
            dataset: pair.train, rank: 0, rankCount: 1, rows: 3, transforms: resizing)
        let batch = try #require(try loader.next())
        #expect(batch.sampleShape == [2, 3, 3] && batch.rows == 3 && batch.images.count == 3 * 18)
        #expect(batch.images[18] == pair.train.normalisation.value(of: 1, channel: 0))
        // The model has another size than the transforms make: the first sample says so.
        let wrong = DataLoader.evaluation(
            dataset: pair.test, rank: 0, rankCount: 1, rows: 1, transforms: resizing, sampleShape: [4, 5, 3])
        #expect(
            throws: DataError.wrongSampleSize(
                sample: folder.path + "/test/a/0.png", expected: [4, 5, 3], actual: [2, 3, 3])
        ) { try wrong.next() }
    }
}

/// Brings every image to one size.
struct Resizing: Transform {
    let appliesInEvaluation = true
    let height: Int
    let width: Int
    func outputShape(of shape: Shape) -> Shape { [height, width, shape[2]] }
    func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        resizeBilinear(image, height: height, width: width, into: result)
    }
}
