import DTrainData
import DTrainTensor
import Testing

@Suite struct KnownDatasetTests {
    @Test func theEmbeddedSampleHasItsDigits() throws {
        let pair = try DataSpecification.mnistSample.openImages()
        #expect(pair.train.count == 10_000 && pair.test.count == 2_000)
        // Counted in the official files.
        #expect(try pair.train.countPerClass() == [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978])
        #expect(try pair.test.countPerClass() == [175, 234, 219, 207, 217, 179, 178, 205, 192, 194])
        #expect(try (0..<8).map { try pair.train.label(of: $0) } == [5, 0, 4, 1, 9, 2, 1, 3])
        #expect(try (0..<8).map { try pair.test.label(of: $0) } == [7, 2, 1, 0, 4, 1, 4, 9])
        #expect(pair.train.normalisation == Normalisation(mean: [0.1307], standardDeviation: [0.3081]))
        let sample = try pixels(pair.train, 0).pixels
        #expect(sample[5 * 28 + 12] == 3 && sample[5 * 28 + 20] == 166 && sample[783] == 0)
    }

    @Test func theNormalisedSampleHasMeanNearZeroAndDeviationNearOne() throws {
        let dataset = try DataSpecification.mnistSample.openImages().train
        let loader = DataLoader.evaluation(dataset: dataset, rank: 0, rankCount: 1, rows: 500)
        var sum = 0.0, squares = 0.0, count = 0.0
        while let batch = try loader.next() {
            for value in batch.images.buffer {
                sum += Double(value)
                squares += Double(value) * Double(value)
            }
            count += Double(batch.images.count)
        }
        // The first 10,000 digits: mean 0.13113, deviation 0.30870, against the 0.1307 and 0.3081 of all.
        let mean = sum / count
        #expect(abs(mean - (0.1311257503 - 0.1307) / 0.3081) < 1e-5)
        #expect(abs((squares / count - mean * mean).squareRoot() - 0.3086985465 / 0.3081) < 1e-5)
    }

    @Test(.enabled(if: SharedData.hasMNIST, "no MNIST in \(SharedData.mnist): set DTRAIN_SHARED_DATA"))
    func theSampleIsTheBeginningOfTheOfficialFiles() throws {
        let official = try DataSpecification.parse("mnist:\(SharedData.mnist)").openImages()
        #expect(official.train.count == 60_000 && official.test.count == 10_000)
        #expect(try official.train.countPerClass() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
        let sample = try DataSpecification.mnistSample.openImages()
        for split in DatasetSplit.allCases {
            for index in 0..<sample[split].count {
                guard try pixels(official[split], index) == pixels(sample[split], index) else {
                    Issue.record("\(split.rawValue) digit \(index) differs")
                    return
                }
            }
        }
        #expect(official.digest != sample.digest)
    }

    @Test func fashionMNISTHasItsClassesAndConstants() throws {
        let folder = try TemporaryFolder()
        try SmallMNIST().write(to: folder)
        let fashion = try DataSpecification.parse("fashion-mnist:\(folder.path)").openImages()
        let digits = try DataSpecification.parse("mnist:\(folder.path)").openImages()
        #expect(fashion.classNames[0] == "T-shirt/top" && fashion.classNames[9] == "Ankle boot")
        #expect(fashion.train.normalisation == Normalisation(mean: [0.2860], standardDeviation: [0.3530]))
        #expect(fashion.digest != digits.digest)
    }

    @Test func syntheticImagesAreTheSameEveryTimeAndUniform() throws {
        let specification = try DataSpecification.parse("synthetic:9x7x3,5")
        let first = try specification.openImages(), second = try specification.openImages()
        #expect(first.sampleShape == [9, 7, 3] && first.classCount == 5 && first.digest == second.digest)
        var histogram = [Int](repeating: 0, count: 4)
        var samples: Set<[UInt8]> = []
        for index in 0..<200 {
            let sample = try pixels(first.train, index)
            #expect(try sample == pixels(second.train, index))
            for byte in sample.pixels { histogram[Int(byte) / 64] += 1 }
            samples.insert(sample.pixels)
        }
        // 37,800 bytes in four bins: 9,450 ± 5 standard deviations of 84.
        #expect(histogram.allSatisfy { abs($0 - 9450) < 420 })
        #expect(samples.count == 200)
        let counts = try first.train.countPerClass()
        #expect(counts.reduce(0, +) == 16_384 && counts.allSatisfy { abs($0 - 3277) < 260 })
    }

    @Test func syntheticSetsOfOtherShapesClassesAndSplitsDiffer() throws {
        let digests = try ["synthetic:8x8x1,10", "synthetic:8x8x1,11", "synthetic:4x16x1,10"].flatMap {
            let pair = try DataSpecification.parse($0).openImages()
            return [pair.train.digest, pair.test.digest]
        }
        #expect(Set(digests).count == 6)
    }

    @Test func theDescriptionSaysWhatACheckpointNeeds() throws {
        let pair = try DataSpecification.parse("synthetic:8x6x3,2").openImages()
        let description = pair.description
        #expect(description.specification == "synthetic:8x6x3,2" && description.sampleShape == [8, 6, 3])
        #expect(description.classNames == ["0", "1"] && description.digest == pair.digest)
        #expect(description.trainCount == 16_384 && description.testCount == 1_024)
    }
}

@Suite struct ContentDigestTests {
    /// The published vectors of XXH64 with seed 0; the last is longer than one stripe of 32 bytes.
    @Test(
        arguments: [
            ("", 0xEF46_DB37_51D8_E999), ("a", 0xD24E_C4F1_A98C_6E5B), ("abc", 0x44BC_2CF5_AD77_0999),
            ("Nobody inspects the spammish repetition", 0xFBCE_A83C_8A37_8BF1),
        ] as [(String, UInt64)])
    func hashesAsXXH64Does(text: String, expected: UInt64) {
        #expect(Array(text.utf8).withUnsafeBytes { ContentDigest.hash($0) } == expected)
    }

    @Test func textsAreKeptApart() {
        #expect(ContentDigest.combining(["ab", "c"]) != ContentDigest.combining(["a", "bc"]))
        #expect(ContentDigest.text(0xAB) == "00000000000000ab")
    }
}
