internal import CPNG
import DTrainData
import DTrainTensor
import Foundation
import Testing

@Suite struct PNGImageTests {
    /// Width, height, channels and pixels of a PNG file, decoded by libpng.
    private func decode(_ path: String) throws -> (width: Int, height: Int, channels: Int, pixels: [UInt8]) {
        var image = png_image()
        image.version = UInt32(PNG_IMAGE_VERSION)
        try #require(png_image_begin_read_from_file(&image, path) != 0)
        let channels = image.format & UInt32(PNG_FORMAT_FLAG_COLOR) == 0 ? 1 : 3
        let width = Int(image.width), height = Int(image.height)
        var pixels = [UInt8](repeating: 0, count: width * height * channels)
        try #require(png_image_finish_read(&image, nil, &pixels, 0, nil) != 0)
        return (width, height, channels, pixels)
    }

    @Test(arguments: [1, 3]) func whatIsWrittenIsWhatADecoderReads(channels: Int) throws {
        let folder = try TemporaryFolder()
        let dataset = SyntheticDataset(split: .train, sampleShape: [31, 17, channels], classCount: 3)
        let picture = try SampleGrid(dataset, columns: 3, rows: 2).image()
        try picture.write(to: folder.path + "/a.png")
        let decoded = try decode(folder.path + "/a.png")
        #expect(decoded.width == picture.width && decoded.height == picture.height)
        #expect(decoded.channels == channels && picture.channels == channels)
        #expect(decoded.pixels == picture.pixels)
    }

    @Test func anImageWithoutPixelsOrWithTwoChannelsIsRefused() {
        for (width, height, channels) in [(0, 5, 1), (5, 0, 3), (5, 5, 2), (1 << 20, 1 << 20, 3), (Int.max, 2, 1)] {
            #expect(throws: PNGError.invalidSize(width: width, height: height, channels: channels)) {
                try PNGImage(width: width, height: height, channels: channels)
            }
        }
    }

    @Test func anUnwritablePathNamesTheReason() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/missing/a.png"
        let error = #expect(throws: PNGError.self) { try PNGImage(width: 4, height: 4, channels: 1).write(to: path) }
        #expect(error == .cannotWrite(path: path, reason: "No such file or directory"))
    }

    @Test func aFullDeviceIsAnErrorAndStaysInItsPlace() throws {
        let device = "/dev/full"
        let error = #expect(throws: PNGError.self) { try PNGImage(width: 4, height: 4, channels: 3).write(to: device) }
        #expect(error == .cannotWrite(path: device, reason: "No space left on device"))
        #expect(FileManager.default.fileExists(atPath: device))
    }
}

@Suite struct SampleGridTests {
    @Test func everySampleIsThereMagnifiedInItsPlace() throws {
        let dataset = try DataSpecification.mnistSample.openImages().train
        let picture = try SampleGrid(dataset, columns: 4, rows: 3).image()
        #expect(picture.channels == 1)
        // Find each digit, three times its size, by its first row that is not black.
        var places: [(x: Int, y: Int)] = []
        for index in 0..<12 {
            let sample = try pixels(dataset, index).pixels
            let place = (0..<picture.height - 84).lazy.flatMap { y in
                (0..<picture.width - 84).lazy.map { x in (x: x, y: y) }
            }.first { place in
                (0..<84).allSatisfy { row in
                    (0..<84).allSatisfy { column in
                        picture.pixels[(place.y + row) * picture.width + place.x + column]
                            == sample[row / 3 * 28 + column / 3]
                    }
                }
            }
            places.append(try #require(place, "digit \(index) is not in the picture"))
        }
        #expect(Set(places.map(\.x)).count == 4 && Set(places.map(\.y)).count == 3)
        #expect(places[1].x > places[0].x && places[1].y == places[0].y && places[4].y > places[0].y)
    }

    @Test func labelsAndCountsChangeThePicture() throws {
        func picture(labels: [UInt8]) throws -> PNGImage {
            let folder = try TemporaryFolder()
            var files = SmallMNIST(trainCount: 4)
            files.trainLabels = idx([4], labels)
            try files.write(to: folder)
            return try SampleGrid(DataSpecification.mnist(directory: folder.path).openImages().train).image()
        }
        let original = try picture(labels: [1, 2, 3, 4])
        let swapped = try picture(labels: [1, 3, 2, 4])
        #expect(original.width == swapped.width && original.height == swapped.height)
        // The counts are the same, so that only the two labels in the middle differ: below the samples.
        let differing = original.pixels.indices.filter { original.pixels[$0] != swapped.pixels[$0] }
        #expect(!differing.isEmpty)
        #expect(differing.allSatisfy { $0 / original.width > original.height - 60 })
        #expect(try picture(labels: [1, 1, 3, 4]).pixels != original.pixels)
    }

    @Test func thePermutationIsVisible() throws {
        let dataset = try DataSpecification.mnistSample.openImages().test
        let plain = try SampleGrid(dataset, columns: 2, rows: 1).image()
        let permuted = try SampleGrid(
            dataset, transforms: [PixelPermutation(seed: 1, sampleShape: [28, 28, 1])], columns: 2, rows: 1
        ).image()
        #expect(permuted.pixels != plain.pixels && permuted.pixels.sorted() == plain.pixels.sorted())
    }

    @Test func aGridOfFewSamplesIsSmall() throws {
        let two = SyntheticDataset(split: .test, sampleShape: [28, 28, 1], classCount: 3, count: 2)
        let grid = SampleGrid(two)
        #expect(grid.columns == 2 && grid.rows == 1)
        #expect(try grid.image().height < 300)
    }

    @Test func samplesOfTwoChannelsAreRefused() {
        let dataset = SyntheticDataset(split: .test, sampleShape: [8, 8, 2], classCount: 3)
        #expect(throws: PNGError.self) { try SampleGrid(dataset).image() }
    }

    /// Sorted by class, as folders are, and of various sizes: the picture shows all classes, large images reduced.
    @Test func sortedSamplesAreSpreadAndLargeOnesReduced() throws {
        let folder = try TemporaryFolder()
        for name in ["train", "test"] {
            for label in 0..<3 {
                for number in 0..<4 {
                    try folder.writePNG(
                        "\(name)/\(label)/\(number).png", colour(label + 1, number), height: 300 + number, width: 600)
                }
            }
        }
        let dataset = try DataSpecification.images(directory: folder.path).openImages().train
        let picture = try SampleGrid(dataset, columns: 3, rows: 1).image()
        // Each class's first image, 128 × 64 pixels; frames and text are grey.
        for label in 0..<3 {
            let wanted = colour(label + 1, 0)
            let found = stride(from: 0, to: picture.pixels.count, by: 3).filter {
                Array(picture.pixels[$0..<$0 + 3]) == wanted
            }
            #expect(found.count == 128 * 64)
        }
        #expect(picture.height < 400 && picture.width < 700)
    }
}
