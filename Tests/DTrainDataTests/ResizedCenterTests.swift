import DTrainData
import DTrainTensor
import Testing

/// The resize and the crop in the middle that are done at once.
@Suite struct ResizedCenterTests {
    private static func image(height: Int, width: Int, channels: Int) -> PixelBuffer {
        let image = PixelBuffer()
        image.resize(height: height, width: width, channels: channels)
        let random = CounterRandom(seed: 3, purpose: .synthetic)
        for index in 0..<image.byteCount { image.bytes[index] = UInt8(random.below(256, UInt64(index))) }
        return image
    }

    @Test(arguments: [(40, 57), (57, 40), (16, 16), (20, 200), (200, 20), (9, 64), (33, 16), (7, 7)], [1, 3])
    func givesTheSameBytes(_ size: (Int, Int), channels: Int) {
        let image = Self.image(height: size.0, width: size.1, channels: channels)
        let random = SampleRandom(seed: 0, epoch: 0, sample: 0)
        for (shorterSide, side) in [(16, 16), (19, 16), (16, 5), (40, 33)] {
            let (resized, expected, result) = (PixelBuffer(), PixelBuffer(), PixelBuffer())
            Resize(.shorterSide(shorterSide)).apply(image, into: resized, random: random)
            CenterCrop(side).apply(resized, into: expected, random: random)
            ResizedCenter(shorterSide: shorterSide, side: side).apply(image, into: result, random: random)
            #expect(result.shape == expected.shape)
            #expect(result.bytes.array() == expected.bytes.array(), "\(size) to \(shorterSide), \(side)")
        }
    }

    /// A line of pixels would become an image of 256 × 15 million before the crop.
    @Test(arguments: [(1, 60_000), (60_000, 1)])
    func proportionsCostNothing(_ size: (Int, Int)) throws {
        let normalisation = Normalisation(mean: [0, 0, 0], standardDeviation: [1, 1, 1])
        let pipeline = try TransformPipeline(
            [], family: .imagenet, sampleShape: [size.0, size.1, 3], sizesMayDiffer: true, imageSize: 224,
            normalisation: normalisation, seed: 0)
        #expect(pipeline.evaluation.count == 1 && pipeline.outputShape == [224, 224, 3])
        let result = PixelBuffer()
        pipeline.evaluation[0].apply(
            Self.image(height: size.0, width: size.1, channels: 3), into: result,
            random: SampleRandom(seed: 0, epoch: 0, sample: 0))
        #expect(result.shape == [224, 224, 3])
    }

    /// What only brings images to a size, and is left out where they have it, does not move the random numbers of the rest.
    @Test func idleTransformsDoNotMoveRandomNumbers() throws {
        let folder = try TemporaryFolder()
        for index in 0..<8 {
            try folder.writePNG("train/a/\(index).png", [UInt8(index * 9), 70, 3, 90, 5, 200], height: 1, width: 2)
        }
        try folder.writePNG("test/a/0.png", [1, 2, 3, 4, 5, 6], height: 1, width: 2)
        let data = try DataSpecification.images(directory: folder.path).openImages().train
        func samples(sizesMayDiffer: Bool) throws -> [[Float]] {
            let pipeline = try TransformPipeline(
                [.randomCrop(side: 2, padding: 1), .flip], family: .cifar, sampleShape: [1, 2, 3],
                sizesMayDiffer: sizesMayDiffer, normalisation: data.normalisation, seed: 4)
            let resized: [any Transform] = sizesMayDiffer ? [Resize(.exactly(height: 1, width: 2))] : []
            let loader = DataLoader(
                dataset: data, sampler: try Sampler(sampleCount: 8, batchSize: 8, seed: 4),
                work: .training(
                    sampler: try Sampler(sampleCount: 8, batchSize: 8, seed: 4), shards: [Shard(offset: 0, rows: 8)],
                    steps: 0..<2), transforms: resized + pipeline.training)
            return try (0..<2).map { _ in try #require(try loader.next()).images.array() }
        }
        #expect(try samples(sizesMayDiffer: true) == samples(sizesMayDiffer: false))
    }
}
