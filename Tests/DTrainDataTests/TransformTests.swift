import DTrainData
import DTrainTensor
import Testing

/// Adds to every byte a random number of the sample: makes visible which randomness a loader hands out.
private struct AddNoise: Transform {
    let appliesInEvaluation = false

    func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        result.resize(to: image.shape)
        for index in 0..<image.shape.count {
            result.bytes[index] = image.bytes[index] &+ UInt8(random.below(256, UInt16(index)))
        }
    }
}

@Suite struct TransformTests {
    private func apply(_ transform: any Transform, _ bytes: [UInt8]) -> [UInt8] {
        let image = PixelBuffer([1, 1, bytes.count]), result = PixelBuffer()
        for (index, byte) in bytes.enumerated() { image.bytes[index] = byte }
        transform.apply(image, into: result, random: SampleRandom(seed: 0, epoch: 0, sample: 0))
        return result.array()
    }

    @Test func permutedPixelsAreAllThereAndElsewhere() {
        let pixels = (0..<12 * 16).map { UInt8($0) }
        let permuted = apply(PixelPermutation(seed: 1, sampleShape: [12, 16, 1]), pixels)
        #expect(permuted.sorted() == pixels)
        #expect(zip(permuted, pixels).filter { $0 == $1 }.count < 10)
        #expect(permuted == apply(PixelPermutation(seed: 1, sampleShape: [12, 16, 1]), pixels))
        #expect(permuted != apply(PixelPermutation(seed: 2, sampleShape: [12, 16, 1]), pixels))
    }

    @Test func theChannelsOfAPixelMoveTogether() {
        let pixels = (UInt8(0)..<20).flatMap { (pixel: UInt8) -> [UInt8] in [pixel, pixel + 100, pixel + 200] }
        let permuted = apply(PixelPermutation(seed: 1, sampleShape: [5, 4, 3]), pixels)
        #expect(permuted != pixels)
        for pixel in 0..<20 {
            let first = permuted[3 * pixel]
            #expect(permuted[3 * pixel + 1] == first &+ 100 && permuted[3 * pixel + 2] == first &+ 200)
        }
    }

    @Test func thePermutationIsTheSameInTrainingAndEvaluation() throws {
        let dataset = NumberedDataset(count: 40)
        // A seed that swaps the two pixels.
        let swapping = try #require(
            (0..<20).map { PixelPermutation(seed: $0, sampleShape: dataset.sampleShape) }
                .first { apply($0, [1, 2]) == [2, 1] })
        let training = try drain(
            .training(
                dataset: dataset, sampler: Sampler(sampleCount: 40, batchSize: 40, seed: 9, shuffles: false),
                shards: [Shard(offset: 0, rows: 40)], steps: 0..<2, transforms: [swapping]))
        let evaluation = try drain(
            .evaluation(dataset: dataset, rank: 0, rankCount: 1, rows: 40, transforms: [swapping]))
        // The low byte of the index stands in the high one's place.
        let swapped = (0..<40).map { 256 * $0 }
        #expect(training.map(\.samples) == [swapped, swapped])
        #expect(evaluation.map(\.samples) == [swapped])
    }

    @Test func augmentationDependsOnSeedEpochAndSampleAndNotOnRanksOrOrder() throws {
        func noisy(seed: UInt64, ranks: Int, epoch: Int, shuffles: Bool = false) throws -> Set<[Float]> {
            var samples: Set<[Float]> = []
            for rank in 0..<ranks {
                let loader = DataLoader.training(
                    dataset: NumberedDataset(count: 60),
                    sampler: try Sampler(sampleCount: 60, batchSize: 30, seed: seed, shuffles: shuffles),
                    shards: try Shard.ofRank(rank, of: ranks, batchSize: 30), steps: 2 * epoch..<2 * epoch + 2,
                    transforms: [AddNoise()])
                while let batch = try loader.next() {
                    for row in 0..<batch.rows { samples.insert(batch.images[2 * row..<2 * row + 2].array()) }
                }
            }
            return samples
        }
        let one = try noisy(seed: 1, ranks: 1, epoch: 0)
        #expect(try noisy(seed: 1, ranks: 4, epoch: 0) == one)
        #expect(try noisy(seed: 1, ranks: 1, epoch: 0, shuffles: true) == one)
        #expect(try noisy(seed: 1, ranks: 1, epoch: 1) != one)
        #expect(try noisy(seed: 2, ranks: 1, epoch: 0) != one)
        #expect(one.count > 55)
    }

    @Test func aTransformForTrainingIsLeftOutInEvaluation() throws {
        let batches = try drain(
            .evaluation(
                dataset: NumberedDataset(count: 20), rank: 0, rankCount: 1, rows: 20, transforms: [AddNoise()]))
        #expect(batches.flatMap(\.samples) == Array(0..<20))
    }

    @Test func theDrawsOfSamplesEpochsAndTransformsDiffer() {
        let draws = [
            SampleRandom(seed: 1, epoch: 0, sample: 0), SampleRandom(seed: 2, epoch: 0, sample: 0),
            SampleRandom(seed: 1, epoch: 1, sample: 0), SampleRandom(seed: 1, epoch: 0, sample: 1),
            SampleRandom(seed: 1, epoch: 0, sample: 0, transform: 1),
        ].flatMap { [$0.uniform(0), $0.uniform(1)] }
        #expect(Set(draws).count == 10 && draws.allSatisfy { $0 >= 0 && $0 < 1 })
    }
}
