import DTrainData
import DTrainTensor
import Foundation
import Testing

@Suite struct IDXDatasetTests {
    private func open(_ folder: TemporaryFolder) throws -> DatasetPair {
        try DataSpecification.mnist(directory: folder.path).openImages()
    }

    /// The pixels and labels of a whole data set.
    private func content(_ dataset: any ImageDataset) throws -> (pixels: [UInt8], labels: [Int]) {
        let samples = try (0..<dataset.count).map { try DTrainDataTests.pixels(dataset, $0) }
        return (samples.flatMap(\.pixels), samples.map(\.label))
    }

    @Test func readsPlainFilesPixelByPixel() throws {
        let folder = try TemporaryFolder(), files = SmallMNIST()
        try files.write(to: folder)
        let pair = try open(folder)
        #expect(pair.train.count == 12 && pair.test.count == 5)
        #expect(pair.sampleShape == [28, 28, 1] && pair.classCount == 10)
        let train = try content(pair.train)
        #expect(train.pixels == Array(files.trainImages[16...]))
        #expect(train.labels == files.trainLabels[8...].map(Int.init))
        #expect(try content(pair.test).pixels == Array(files.testImages[16...]))
    }

    @Test func gzipFilesHoldTheSameAsPlainOnes() throws {
        let plain = try TemporaryFolder(), compressed = try TemporaryFolder()
        try SmallMNIST().write(to: plain)
        try SmallMNIST().write(to: compressed, gzipped: true)
        let first = try open(plain), second = try open(compressed)
        #expect(try content(first.train) == content(second.train))
        #expect(try content(first.test) == content(second.test))
        #expect(first.digest == second.digest)
    }

    @Test func theContentDecidesWhetherAFileIsGzip() throws {
        let folder = try TemporaryFolder(), files = SmallMNIST()
        try files.write(to: folder)
        try folder.write(gzip(files.trainImages), "train-images-idx3-ubyte")
        #expect(try content(open(folder).train).pixels == Array(files.trainImages[16...]))
    }

    @Test func severalGzipMembersAreOneFile() throws {
        let folder = try TemporaryFolder(), files = SmallMNIST()
        try files.write(to: folder, gzipped: true)
        let half = files.trainImages.count / 2
        try folder.write(
            gzip(Array(files.trainImages[..<half])) + gzip(Array(files.trainImages[half...])),
            "train-images-idx3-ubyte.gz")
        #expect(try content(open(folder).train).pixels == Array(files.trainImages[16...]))
    }

    @Test func compressedFilesLargerThanTheInputBufferAreWhole() throws {
        // 400 images that do not compress: five input buffers of 64 KiB.
        let folder = try TemporaryFolder()
        var files = SmallMNIST(trainCount: 400)
        let random = CounterRandom(seed: 3, purpose: .synthetic)
        let noise = (0..<400 * 784).map { UInt8(truncatingIfNeeded: random.words(UInt64($0)).0) }
        files.trainImages = idx([400, 28, 28], noise)
        try files.write(to: folder, gzipped: true)
        #expect(try content(open(folder).train).pixels == noise)
    }

    @Test func theDigestTellsOnePixelAndOneLabelApart() throws {
        func digest(_ change: (inout SmallMNIST) -> Void) throws -> String {
            let folder = try TemporaryFolder()
            var files = SmallMNIST()
            change(&files)
            try files.write(to: folder)
            return try open(folder).digest
        }
        let original = try digest { _ in }
        #expect(try digest { _ in } == original)
        #expect(original.count == 16)
        let others = try [
            digest { $0.trainImages[16 + 784 + 5] ^= 1 }, digest { $0.trainLabels[8 + 3] = 9 },
            digest { $0.testImages[16] ^= 128 }, digest { $0.testLabels[8] = 4 },
        ]
        #expect(Set(others + [original]).count == 5)
    }

    // MARK: Errors

    /// Opens a small MNIST of which one thing is wrong and returns the error.
    private func failure(
        gzipped: Bool = false, _ change: (inout SmallMNIST) -> Void = { _ in },
        _ damage: (TemporaryFolder) throws -> Void = { _ in }
    ) throws -> (error: DataError, folder: String) {
        let folder = try TemporaryFolder()
        var files = SmallMNIST()
        change(&files)
        try files.write(to: folder, gzipped: gzipped)
        try damage(folder)
        let error = #expect(throws: DataError.self) { try open(folder) }
        return (try #require(error), folder.path)
    }

    @Test func aMissingFileNamesEveryPathThatWasTried() throws {
        let (error, folder) = try failure(gzipped: true) { _ in
        } _: {
            try FileManager.default.removeItem(atPath: $0.path + "/t10k-labels-idx1-ubyte.gz")
        }
        let base = folder + "/t10k-labels-idx1-ubyte"
        #expect(error == .notFound(what: "test labels of MNIST", tried: [base, base + ".gz"]))
        #expect("\(error)".contains(base + " and " + base + ".gz"))
    }

    @Test func aFolderInPlaceOfAFileIsUnreadable() throws {
        let (error, folder) = try failure { _ in
        } _: {
            try FileManager.default.removeItem(atPath: $0.path + "/train-images-idx3-ubyte")
            try FileManager.default.createDirectory(
                atPath: $0.path + "/train-images-idx3-ubyte", withIntermediateDirectories: false)
        }
        #expect(error == .unreadable(path: folder + "/train-images-idx3-ubyte", reason: "it is not a regular file"))
    }

    @Test(arguments: [false, true]) func aTruncatedFileNamesExpectedAndActualBytes(gzipped: Bool) throws {
        let (error, folder) = try failure(gzipped: gzipped, { $0.trainImages.removeLast(100) })
        let path = folder + "/train-images-idx3-ubyte" + (gzipped ? ".gz" : "")
        #expect(error == .truncated(path: path, expectedBytes: 16 + 12 * 784, actualBytes: 16 + 12 * 784 - 100))
        #expect("\(error)".contains("9424") && "\(error)".contains("9324"))
    }

    @Test(arguments: [4, 15]) func aFileThatEndsInItsHeaderIsTruncated(byteCount: Int) throws {
        let (error, folder) = try failure({ $0.trainImages = Array($0.trainImages[..<byteCount]) })
        #expect(
            error == .truncated(path: folder + "/train-images-idx3-ubyte", expectedBytes: 16, actualBytes: byteCount))
    }

    @Test func aTruncatedGzipStreamIsTruncatedWhereTheDataEnd() throws {
        let whole = gzip(SmallMNIST().trainImages)
        let (error, folder) = try failure(gzipped: true) { _ in
        } _: {
            try $0.write(Array(whole[..<(whole.count / 2)]), "train-images-idx3-ubyte.gz")
        }
        guard case .truncated(let path, 9424, let actual) = error else { throw error }
        #expect(path == folder + "/train-images-idx3-ubyte.gz")
        #expect(actual > 0 && actual < 9424)
    }

    @Test func aGzipStreamWithoutItsChecksumIsCorrupt() throws {
        let whole = gzip(SmallMNIST().trainImages)
        let (error, folder) = try failure(gzipped: true) { _ in
        } _: {
            try $0.write(Array(whole.dropLast(8)), "train-images-idx3-ubyte.gz")
        }
        #expect(
            error
                == .corruptGzip(
                    path: folder + "/train-images-idx3-ubyte.gz", byte: whole.count - 8,
                    reason: "the file ends before the checksum"))
    }

    @Test func aFlippedBitInAGzipStreamIsFoundByItsChecksum() throws {
        var damaged = gzip(SmallMNIST().trainImages)
        damaged[damaged.count - 6] ^= 0x10
        let (error, folder) = try failure(gzipped: true) { _ in
        } _: {
            try $0.write(damaged, "train-images-idx3-ubyte.gz")
        }
        guard case .corruptGzip(let path, _, let reason) = error else { throw error }
        #expect(path == folder + "/train-images-idx3-ubyte.gz")
        #expect(reason == "incorrect data check")
    }

    @Test func rubbishAfterAGzipMemberIsCorrupt() throws {
        let (error, _) = try failure(gzipped: true) { _ in
        } _: {
            try $0.write(gzip(SmallMNIST().trainLabels) + Array("rubbish".utf8), "train-labels-idx1-ubyte.gz")
        }
        guard case .corruptGzip(_, _, "incorrect header check") = error else { throw error }
    }

    @Test func aLabelFileUnderTheNameOfTheImagesHasABadMagic() throws {
        let (error, folder) = try failure({ $0.trainImages = $0.trainLabels })
        #expect(error == .badMagic(path: folder + "/train-images-idx3-ubyte", expected: 0x803, actual: 0x801))
        #expect("\(error)".contains("0x00000801, those of labels, and should be 0x00000803"))
    }

    @Test func aWebPageUnderTheNameOfTheLabelsHasABadMagic() throws {
        let (error, _) = try failure({ $0.testLabels = Array("<html>".utf8) })
        guard case .badMagic(_, 0x801, 0x3C68_746D) = error else { throw error }
    }

    @Test func imagesOfAnotherSizeHaveWrongDimensions() throws {
        let black = [UInt8](repeating: 0, count: 12 * 32 * 28)
        let (error, folder) = try failure({ $0.trainImages = idx([12, 32, 28], black) })
        #expect(
            error
                == .wrongDimensions(
                    path: folder + "/train-images-idx3-ubyte", expected: "N×28×28", actual: [12, 32, 28]))
        #expect("\(error)".contains("12×32×28"))
    }

    @Test func differentNumbersOfImagesAndLabelsDoNotFit() throws {
        let (error, folder) = try failure({ $0.testLabels = SmallMNIST(testCount: 6).testLabels })
        #expect(
            error
                == .countMismatch(
                    imagesPath: folder + "/t10k-images-idx3-ubyte", images: 5,
                    labelsPath: folder + "/t10k-labels-idx1-ubyte", labels: 6))
    }

    @Test func aLabelOutOfRangeIsNamedWithItsIndex() throws {
        let (error, folder) = try failure({ $0.trainLabels[8 + 7] = 10 })
        #expect(
            error
                == .labelOutOfRange(path: folder + "/train-labels-idx1-ubyte", index: 7, label: 10, classCount: 10))
        #expect("\(error)".contains("label 7 is 10"))
    }

    @Test(arguments: [false, true]) func bytesAfterTheLastSampleAreAnError(gzipped: Bool) throws {
        let (error, folder) = try failure(gzipped: gzipped, { $0.testLabels += [1, 2, 3] })
        let path = folder + "/t10k-labels-idx1-ubyte" + (gzipped ? ".gz" : "")
        #expect(error == .trailingBytes(path: path, expectedBytes: 13, actualBytes: 16))
    }

    @Test func aFileWithoutSamplesIsEmpty() throws {
        let (error, folder) = try failure({ $0.trainImages = idx([0, 28, 28], []) })
        #expect(error == .empty(path: folder + "/train-images-idx3-ubyte"))
    }

    @Test(arguments: [false, true]) func aHeaderThatAnnouncesTerabytesAllocatesNothing(gzipped: Bool) throws {
        let (error, _) = try failure(
            gzipped: gzipped, { $0.trainImages.replaceSubrange(4..<8, with: [255, 255, 255, 255]) })
        guard case .truncated(_, let expected, 9424) = error else { throw error }
        #expect(expected == 16 + 0xFFFF_FFFF * 784)
    }
}
