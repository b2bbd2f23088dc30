import DTrainData
import DTrainTensor
import Testing

/// What one position of one step's global batch got.
private struct Row: Hashable {
    let pixels: [Float]
    let label: Int32
    let partnerLabel: Int32?
    let weight: Float?
}

/// Mixing in the loader, against the samples that a loader without mixing delivers.
@Suite struct MixedLoaderTests {
    private static let shape: Shape = [12, 10, 3]
    private static let transforms: [any Transform] = [RandomCrop(10, padding: 2), HorizontalFlip(), TrivialAugment()]

    /// All rows of steps 3 ..< 8 by (step, position), loaded by `ranks` ranks.
    private func rows(
        _ mixing: Mixing?, ranks: Int = 1, threads: Int = 1, accumulation: Int = 1, batchSize: Int = 21
    ) throws -> [[Int]: Row] {
        let dataset = SyntheticDataset(split: .train, sampleShape: Self.shape, classCount: 50, count: 70)
        let sampler = try Sampler(sampleCount: 70, batchSize: batchSize, seed: 11)
        var rows: [[Int]: Row] = [:]
        for rank in 0..<ranks {
            let loader = DataLoader.training(
                dataset: dataset, sampler: sampler,
                shards: try Shard.ofRank(rank, of: ranks, batchSize: batchSize, accumulation: accumulation),
                steps: 3..<8, transforms: Self.transforms, mixing: mixing, threadCount: threads, depth: 2)
            while let batch = try loader.next() {
                let size = batch.sampleShape.count
                for row in 0..<batch.rows {
                    rows[[batch.item.step, batch.firstPosition + row]] = Row(
                        pixels: batch.images[row * size..<(row + 1) * size].array(), label: batch.labels[row],
                        partnerLabel: batch.partnerLabels?[row], weight: batch.mixWeights?[row])
                }
            }
        }
        #expect(rows.count == 5 * batchSize)
        return rows
    }

    @Test(arguments: [
        Mixing(mixupAlpha: 0.4)!, Mixing(cutmixAlpha: 1)!, Mixing(mixupAlpha: 0.4, cutmixAlpha: 1)!,
    ])
    func theRanksTheThreadsAndTheShardsChangeNothing(mixing: Mixing) throws {
        let one = try rows(mixing)
        for (ranks, threads, accumulation) in [(1, 3, 1), (2, 1, 1), (2, 2, 2), (4, 3, 1), (3, 1, 2)] {
            #expect(try rows(mixing, ranks: ranks, threads: threads, accumulation: accumulation) == one)
        }
    }

    @Test func mixupIsTheWeightedMeanOfASampleAndItsPartner() throws {
        let mixing = Mixing(mixupAlpha: 1)!
        let plain = try rows(nil), mixed = try rows(mixing)
        #expect(plain.values.allSatisfy { $0.partnerLabel == nil && $0.weight == nil })
        for (place, row) in mixed {
            let own = try #require(plain[place])
            let plan = mixing.plan(seed: 11, step: place[0], batchSize: 21)
            let partner = try #require(plain[[place[0], plan.partner(of: place[1])]])
            let weight = try #require(row.weight)
            #expect(row.label == own.label && row.partnerLabel == partner.label && weight > 0 && weight < 1)
            for index in own.pixels.indices {
                let expected = weight * own.pixels[index] + (1 - weight) * partner.pixels[index]
                #expect(abs(row.pixels[index] - expected) < 1e-5)
            }
        }
    }

    @Test func cutmixPastesARectangleAndWeighsWithItsArea() throws {
        let mixing = Mixing(cutmixAlpha: 1)!
        let plain = try rows(nil), mixed = try rows(mixing)
        var pasted = 0
        for (place, row) in mixed {
            let own = try #require(plain[place])
            let plan = mixing.plan(seed: 11, step: place[0], batchSize: 21)
            let partner = try #require(plain[[place[0], plan.partner(of: place[1])]])
            guard case .paste(let part) = plan.recipe(of: place[1], height: 10, width: 10) else {
                Issue.record("cutmix blends")
                return
            }
            for pixel in 0..<100 {
                let isInside =
                    (part.top..<part.top + part.height).contains(pixel / 10)
                    && (part.left..<part.left + part.width).contains(pixel % 10)
                if isInside { pasted += 1 }
                let source = isInside ? partner : own
                #expect(row.pixels[3 * pixel..<3 * pixel + 3] == source.pixels[3 * pixel..<3 * pixel + 3])
            }
            #expect(row.weight == 1 - Float(part.height * part.width) / 100)
            #expect(row.label == own.label && row.partnerLabel == partner.label)
        }
        #expect(pasted > 1000)
    }

    @Test func aBatchOfOneIsMixedWithItself() throws {
        let plain = try rows(nil, batchSize: 1), mixed = try rows(Mixing(cutmixAlpha: 1), batchSize: 1)
        for (place, row) in mixed {
            #expect(row.pixels == plain[place]!.pixels && row.partnerLabel == row.label)
        }
    }

    @Test func anEvaluationDoesNotMix() throws {
        let loader = DataLoader.evaluation(
            dataset: SyntheticDataset(split: .test, sampleShape: Self.shape, classCount: 50, count: 7), rank: 0,
            rankCount: 1, rows: 7)
        let batch = try #require(try loader.next())
        #expect(batch.partnerLabels == nil && batch.mixWeights == nil)
    }
}
