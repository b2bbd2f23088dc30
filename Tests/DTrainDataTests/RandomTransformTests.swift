import DTrainData
import DTrainTensor
import Testing

/// What chance does, over many samples with fixed seeds.
@Suite struct RandomTransformTests {
    @Test func flippingMirrorsHalfOfTheSamples() {
        for channels in [1, 3, 4] {
            let image = pattern(5, 7, channels)
            var flipped = 0
            for sample in 0..<400 {
                let result = image.applying(HorizontalFlip(), sample: sample)
                let isFlipped = result.array() != image.array()
                if isFlipped { flipped += 1 }
                for y in 0..<5 {
                    for x in 0..<7 { #expect(result.pixel(y, isFlipped ? 6 - x : x) == image.pixel(y, x)) }
                }
            }
            // Five standard deviations are 50.
            #expect(abs(flipped - 200) < 50)
        }
    }

    /// Which windows of the padded image occur, found by comparing with all of them.
    private func windows(of image: PixelBuffer, side: Int, padding: Int, borders: Int, samples: Int) -> [[Int]: Int] {
        func padded(_ y: Int, _ x: Int) -> [UInt8] {
            guard y >= 0, y < image.height, x >= 0, x < image.width else { return [0, 0, 0] }
            return image.pixel(y, x)
        }
        var counts: [[Int]: Int] = [:]
        for sample in 0..<samples {
            let result = image.applying(RandomCrop(side, padding: padding), sample: sample)
            var found: [[Int]] = []
            for top in -borders...image.height + borders - side {
                for left in -borders...image.width + borders - side {
                    let fits = (0..<side).allSatisfy { y in
                        (0..<side).allSatisfy { x in result.pixel(y, x) == padded(top + y, left + x) }
                    }
                    if fits { found.append([top, left]) }
                }
            }
            #expect(found.count == 1)
            counts[found.first ?? [], default: 0] += 1
        }
        return counts
    }

    @Test func aRandomCropIsEachWindowOfThePaddedImageEquallyOften() {
        // 4 + 2 × 2 − 5 + 1 = 4 rows, 5 + 2 × 2 − 5 + 1 = 5 columns.
        let counts = windows(of: pattern(4, 5, 3), side: 5, padding: 2, borders: 2, samples: 1000)
        #expect(counts.count == 20)
        #expect(counts.values.allSatisfy { $0 > 15 && $0 < 90 })
    }

    @Test func anImageThatIsTooSmallLiesAnywhereInARandomCrop() {
        // One row and two columns are missing, so there are two and three places.
        let counts = windows(of: pattern(4, 3, 3), side: 7, padding: 1, borders: 4, samples: 300)
        #expect(Set(counts.keys) == Set([-2, -1].flatMap { top in [-3, -2, -1].map { [top, $0] } }))
        #expect(counts.values.allSatisfy { $0 > 20 })
    }

    @Test func randomPartsHaveTheAreaAndTheRatioThatWereAskedFor() {
        let crop = RandomResizedCrop(16)
        var areas: [Double] = [], ratios: [Double] = [], tops: [Double] = []
        for sample in 0..<2000 {
            let part = crop.rectangle(height: 375, width: 500, random: draws(sample))
            #expect(part.top >= 0 && part.left >= 0)
            #expect(part.top + part.height <= 375 && part.left + part.width <= 500)
            let area = Double(part.height * part.width) / (375 * 500), ratio = Double(part.width) / Double(part.height)
            #expect(area > 0.079 && area <= 1 && ratio > 0.74 && ratio < 1.35)
            areas.append(area)
            ratios.append(ratio)
            if part.height < 300 { tops.append(Double(part.top) / Double(375 - part.height)) }
        }
        // Large parts often do not fit.
        #expect(abs(areas.reduce(0, +) / 2000 - Self.meanArea) < 0.02)
        #expect(areas.filter { $0 < 0.2 }.count > 150 && areas.filter { $0 > 0.8 }.count > 50)
        let low = ratios.filter { $0 < 1 }.count
        #expect(low > 600 && low < 1400)
        #expect(abs(tops.reduce(0, +) / Double(tops.count) - 0.5) < 0.05)
    }

    /// Of 100,000 draws by the same rule.
    private static let meanArea = 0.433

    @Test func aPartThatNeverFitsIsTheLargestInTheMiddle() {
        let crop = RandomResizedCrop(16)
        // Ten times as high as wide; no part of 90 % of the area has a ratio of at least 3/4.
        let tight = RandomResizedCrop(16, scale: 0.9...1)
        #expect(
            tight.rectangle(height: 300, width: 30, random: draws(1))
                == PixelRectangle(top: 130, left: 0, height: 40, width: 30))
        #expect(crop.central(height: 300, width: 30) == PixelRectangle(top: 130, left: 0, height: 40, width: 30))
        #expect(crop.central(height: 30, width: 301) == PixelRectangle(top: 0, left: 130, height: 30, width: 40))
        #expect(crop.central(height: 30, width: 35) == PixelRectangle(top: 0, left: 0, height: 30, width: 35))
        #expect(crop.central(height: 1, width: 1) == PixelRectangle(top: 0, left: 0, height: 1, width: 1))
    }

    @Test func aRandomPartIsResizedAsThatPart() {
        let image = pattern(40, 60, 3), expected = PixelBuffer()
        for sample in 0..<5 {
            let part = RandomResizedCrop(12).rectangle(height: 40, width: 60, random: draws(sample))
            resizeBilinear(image, from: part, height: 12, width: 12, into: expected)
            #expect(image.applying(RandomResizedCrop(12), sample: sample).array() == expected.array())
        }
    }

    @Test func rotationGoesBothWaysUpToItsLimit() {
        let image = pattern(20, 20, 1), expected = PixelBuffer()
        var different: Set<[UInt8]> = []
        for sample in 0..<50 { different.insert(image.applying(RandomRotation(degrees: 30), sample: sample).array()) }
        // Neighbouring angles may move the same pixels: 45 different images.
        #expect(different.count > 40)
        // All of them are among the rotations by −30 … 30 degrees, in steps that leave no pixel out.
        var possible: Set<[UInt8]> = []
        for step in -3000...3000 {
            rotate(image, degrees: Double(step) / 100, into: expected)
            possible.insert(expected.array())
        }
        #expect(different.filter { possible.contains($0) }.count > 40)
        #expect(image.applying(RandomRotation(degrees: 0)).array() == image.array())
    }

    @Test func cutoutCoversASquareThatTheBorderCuts() {
        let image = pattern(9, 11, 3, low: 20, high: 200)
        let fill: [UInt8] = [1, 2, 3]
        var counts = [Int](repeating: 0, count: 9 * 11), areas: Set<Int> = []
        for sample in 0..<2000 {
            let result = image.applying(Cutout(side: 4, fill: fill), sample: sample)
            let covered = (0..<99).filter { result.pixel($0 / 11, $0 % 11) == fill }
            for index in covered { counts[index] += 1 }
            areas.insert(covered.count)
            let rows = Set(covered.map { $0 / 11 }), columns = Set(covered.map { $0 % 11 })
            #expect(covered.count == rows.count * columns.count)
            #expect(rows.max()! - rows.min()! == rows.count - 1 && columns.max()! - columns.min()! == columns.count - 1)
            for index in Set(0..<99).subtracting(covered) {
                #expect(result.pixel(index / 11, index % 11) == image.pixel(index / 11, index % 11))
            }
        }
        // From a corner, where two of four pixels are left on each axis, to the whole square.
        #expect(areas == [4, 6, 8, 9, 12, 16])
        // A pixel far from the border is covered by 16 of the 99 middles.
        #expect(abs(counts[4 * 11 + 5] - 2000 * 16 / 99) < 80)
    }

    @Test func cutoutCoversWithTheMean() {
        let normalisation = Normalisation(mean: [0.4914, 0.4822, 0.4465], standardDeviation: [0.2, 0.2, 0.2])
        #expect(Cutout(side: 8, mean: normalisation).fill == [125, 123, 114])
    }

    @Test func colorJitterTakesFactorsWithinItsStrengths() {
        let grey = PixelBuffer([1, 1, 3])
        for channel in 0..<3 { grey.bytes[channel] = 100 }
        var values: [Int] = []
        for sample in 0..<500 {
            let jitter = ColorJitter(brightness: 0.4, contrast: 0, saturation: 0)
            values.append(Int(grey.applying(jitter, sample: sample).array()[0]))
        }
        #expect(values.min()! >= 60 && values.min()! <= 62 && values.max()! <= 140 && values.max()! >= 138)
        #expect(abs(values.reduce(0, +) / 500 - 100) <= 3)
        // A strength above 1 goes down to 0, not below.
        let strong = (0..<200).map { sample in
            Int(grey.applying(ColorJitter(brightness: 3, contrast: 0, saturation: 0), sample: sample).array()[0])
        }
        #expect(strong.min()! < 10 && strong.max()! == 255)
    }

    @Test func colorJitterChangesInEveryOrder() {
        // Brightness and contrast do not commute: the result tells which came first.
        let image = pattern(4, 4, 1)
        var brightnessFirst = 0, contrastFirst = 0
        for sample in 0..<200 {
            let result = image.applying(ColorJitter(brightness: 0.5, contrast: 0.5, saturation: 0), sample: sample)
            let brightness = 0.5 + draws(sample).uniform(4), contrast = 0.5 + draws(sample).uniform(5)
            let one = image.changed {
                $0.adjustBrightness(brightness)
                $0.adjustContrast(contrast)
            }
            let other = image.changed {
                $0.adjustContrast(contrast)
                $0.adjustBrightness(brightness)
            }
            if result.array() == one.array() { brightnessFirst += 1 }
            if result.array() == other.array() { contrastFirst += 1 }
            #expect(result.array() == one.array() || result.array() == other.array())
        }
        #expect(brightnessFirst > 60 && contrastFirst > 60)
    }

    @Test func trivialAugmentTakesEachOperationEquallyOften() {
        let image = pattern(32, 32, 3, low: 40, high: 200), expected = PixelBuffer()
        var results: [[UInt8]: Set<Int>] = [:]
        for (index, operation) in TrivialAugment.Operation.allCases.enumerated() {
            for level in 0...30 {
                for sign in operation.isSigned ? [1, -1] as [Float] : [1] {
                    TrivialAugment.apply(
                        operation, strength: sign * operation.strength(level), to: image, into: expected)
                    results[expected.array(), default: []].insert(index)
                }
            }
        }
        var counts = [Double](repeating: 0, count: 14), unchanged = 0
        for sample in 0..<2800 {
            let result = image.applying(TrivialAugment(), sample: sample).array()
            let possible = results[result] ?? []
            #expect(!possible.isEmpty, "operation \(draws(sample).below(14, 0)) at level \(draws(sample).below(31, 1))")
            guard let operation = possible.first else { continue }
            if possible.count > 1 { unchanged += 1 } else { counts[operation] += 1 }
        }
        // What several operations make is the unchanged image: always identity, one level in 31 of most others.
        #expect(unchanged > 220 && unchanged < 400)
        #expect(counts[0] == 0)
        for index in 1..<14 { #expect(counts[index] > 120 && counts[index] < 280, "operation \(index)") }
    }
}
