import DTrainData
import DTrainTensor
import Foundation
import Testing

/// A small CIFAR-10 or CIFAR-100: value p of record i is (i × 31 + p) mod 251.
func cifar(count: Int, first: Int, labels: (Int) -> [UInt8]) -> [UInt8] {
    (first..<first + count).flatMap { i in labels(i) + (0..<3072).map { UInt8((i * 31 + $0) % 251) } }
}

func writeCIFAR10(to folder: TemporaryFolder, below sub: String = "") throws {
    for file in 0..<5 {
        try folder.write(
            cifar(count: 3, first: 3 * file) { [UInt8($0 % 10)] }, "\(sub)data_batch_\(file + 1).bin")
    }
    try folder.write(cifar(count: 2, first: 100) { [UInt8($0 % 10)] }, "\(sub)test_batch.bin")
}

@Suite struct CIFARDatasetTests {
    private func expectSample(_ dataset: any ImageDataset, _ index: Int, record: Int, label: Int) throws {
        let sample = try pixels(dataset, index)
        let expected = (0..<1024).flatMap { pixel in
            (0..<3).map { UInt8((record * 31 + $0 * 1024 + pixel) % 251) }
        }
        #expect(sample.pixels == expected && sample.label == label)
        #expect(try dataset.label(of: index) == label)
    }

    @Test(arguments: ["", "cifar-10-batches-bin/"]) func cifar10IsReadInTheOrderOfItsFiles(below: String) throws {
        let folder = try TemporaryFolder()
        try writeCIFAR10(to: folder, below: below)
        let pair = try DataSpecification.parse("cifar10:\(folder.path)").openImages()
        #expect(pair.train.count == 15 && pair.test.count == 2 && pair.sampleShape == [32, 32, 3])
        for index in 0..<15 { try expectSample(pair.train, index, record: index, label: index % 10) }
        for index in 0..<2 { try expectSample(pair.test, index, record: 100 + index, label: index) }
        #expect(pair.classNames[2] == "bird" && pair.classCount == 10)
        #expect(pair.train.normalisation.standardDeviation == [0.2470, 0.2435, 0.2616])
    }

    @Test func cifar100TakesTheFineLabel() throws {
        let folder = try TemporaryFolder()
        try folder.write(
            cifar(count: 4, first: 0) { [UInt8(19 - $0), UInt8(96 + $0)] }, "cifar-100-binary/train.bin")
        try folder.write(cifar(count: 1, first: 9) { _ in [3, 7] }, "cifar-100-binary/test.bin")
        let pair = try DataSpecification.parse("cifar100:\(folder.path)/").openImages()
        for index in 0..<4 { try expectSample(pair.train, index, record: index, label: 96 + index) }
        try expectSample(pair.test, 0, record: 9, label: 7)
        #expect(pair.classCount == 100 && pair.classNames[0] == "apple" && pair.classNames[99] == "worm")
        #expect(Set(pair.classNames).count == 100 && pair.classNames == pair.classNames.sorted())
        #expect(pair.train.normalisation.mean == [0.5071, 0.4865, 0.4409])
    }

    @Test func theNamesInTheFolderCount() throws {
        let folder = try TemporaryFolder()
        try writeCIFAR10(to: folder)
        let original = try DataSpecification.cifar10(directory: folder.path).openImages().digest
        let names = (0..<10).map { "name \($0)" }
        try folder.write(Array((names.joined(separator: "\r\n") + "\n\n").utf8), "batches.meta.txt")
        let pair = try DataSpecification.cifar10(directory: folder.path).openImages()
        #expect(pair.classNames == names && pair.digest != original)
        try folder.write(Array("a\nb\n".utf8), "batches.meta.txt")
        #expect(
            throws: DataError.wrongClassNames(path: folder.path + "/batches.meta.txt", expected: 10, actual: 2)
        ) { try DataSpecification.cifar10(directory: folder.path).openImages() }
    }

    @Test func theDigestTellsOnePixelAndOneLabelApart() throws {
        func digest(changing byte: Int?) throws -> String {
            let folder = try TemporaryFolder()
            try writeCIFAR10(to: folder)
            var bytes = cifar(count: 3, first: 3) { [UInt8($0 % 10)] }
            if let byte { bytes[byte] ^= 1 }
            try folder.write(bytes, "data_batch_2.bin")
            return try DataSpecification.cifar10(directory: folder.path).openImages().digest
        }
        #expect(Set(try [nil, 0, 1, 5000].map(digest)).count == 4)
        #expect(try digest(changing: nil) == digest(changing: nil))
    }

    private func failure(_ change: (TemporaryFolder) throws -> Void) throws -> (error: DataError, folder: String) {
        let folder = try TemporaryFolder()
        try writeCIFAR10(to: folder)
        try change(folder)
        let error = #expect(throws: DataError.self) { try DataSpecification.cifar10(directory: folder.path).openImages() }
        return (try #require(error), folder.path)
    }

    @Test func filesThatAreMissingShortOrEmptyAreNamed() throws {
        let missing = try failure { try FileManager.default.removeItem(atPath: $0.path + "/data_batch_1.bin") }
        #expect(
            missing.error
                == .notFound(
                    what: "training samples of CIFAR-10",
                    tried: ["", "cifar-10-batches-bin/"].map { "\(missing.folder)/\($0)data_batch_1.bin" }))
        let later = try failure { try FileManager.default.removeItem(atPath: $0.path + "/data_batch_4.bin") }
        #expect(
            later.error
                == .unreadable(path: later.folder + "/data_batch_4.bin", reason: "No such file or directory"))
        let short = try failure { try $0.write([UInt8](repeating: 0, count: 3072), "test_batch.bin") }
        #expect(
            short.error
                == .wrongFileSize(path: short.folder + "/test_batch.bin", actualBytes: 3072, recordBytes: 3073))
        let empty = try failure { try $0.write([], "data_batch_3.bin") }
        #expect(empty.error == .empty(path: empty.folder + "/data_batch_3.bin"))
    }

    @Test func aLabelOutOfRangeIsNamed() throws {
        let (error, folder) = try failure {
            try $0.write(cifar(count: 3, first: 8) { [UInt8($0)] }, "data_batch_5.bin")
        }
        #expect(
            error == .labelOutOfRange(path: folder + "/data_batch_5.bin", index: 2, label: 10, classCount: 10))
    }
}
