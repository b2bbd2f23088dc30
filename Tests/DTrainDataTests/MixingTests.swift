import DTrainData
import DTrainTensor
import Testing

@Suite struct BetaTests {
    private func draws(_ alpha: Double, count: Int = 20_000) -> [Double] {
        let random = CounterRandom(seed: 7, purpose: .mixing)
        return (0..<UInt64(count)).map { random.beta(alpha, $0 << 10) }.sorted()
    }

    /// The largest distance between the distribution of the draws and `cdf`; 1.63 / √20000 is the 1 % point.
    private func distance(_ draws: [Double], _ cdf: (Double) -> Double) -> Double {
        draws.enumerated().map { abs(cdf($1) - (Double($0) + 0.5) / Double(draws.count)) }.max()!
    }

    @Test func agreesWithTheDistributionsThatHaveAFormula() {
        #expect(distance(draws(1)) { $0 } < 0.0115)
        #expect(distance(draws(2)) { 3 * $0 * $0 - 2 * $0 * $0 * $0 } < 0.0115)
        #expect(distance(draws(3)) { $0 * $0 * $0 * (10 - 15 * $0 + 6 * $0 * $0) } < 0.0115)
        // Beta(1/2, 1/2) is the arcsine law; a triangle wave and a table-free arcsine: sin²(u) against u.
        let angles = draws(0.5).map { value in Self.arcsine(of: value.squareRoot()) }
        #expect(distance(angles) { $0 / (.pi / 2) } < 0.0115)
    }

    /// By bisection of the sine's series, so that the test needs no C library.
    private static func arcsine(of value: Double) -> Double {
        var low = 0.0, high = Double.pi / 2
        for _ in 0..<50 {
            let middle = (low + high) / 2
            var term = middle, sum = middle
            for k in 1...12 {
                term *= -middle * middle / Double(2 * k * (2 * k + 1))
                sum += term
            }
            if sum < value { low = middle } else { high = middle }
        }
        return low
    }

    @Test(arguments: [0.01, 0.1, 0.2, 0.4, 8, 100]) func hasTheRightMeanAndVariance(alpha: Double) {
        let draws = draws(alpha)
        #expect(draws.allSatisfy { $0 >= 0 && $0 <= 1 })
        let mean = draws.reduce(0, +) / Double(draws.count)
        let variance = draws.reduce(0) { $0 + ($1 - 0.5) * ($1 - 0.5) } / Double(draws.count)
        let expected = 1 / (4 * (2 * alpha + 1))
        #expect(abs(mean - 0.5) < 4 * (expected / 20_000).squareRoot())
        #expect(abs(variance / expected - 1) < 0.05)
    }
}

@Suite struct MixingStepTests {
    @Test func partnersAreAPermutationOfGroupsOfAtMostEight() {
        let mixing = Mixing(mixupAlpha: 0.2)!
        for batchSize in 1...70 {
            let step = mixing.plan(seed: 1, step: 4, batchSize: batchSize)
            var groups: [Range<Int>] = []
            for position in 0..<batchSize {
                let group = step.group(of: position)
                #expect(group.contains(position) && group.count <= 8)
                if groups.last != group { groups.append(group) }
                #expect(group.contains(step.partner(of: position)))
                #expect(step.partner(of: position) != position || batchSize == 1)
            }
            #expect(groups.flatMap { $0 } == Array(0..<batchSize))
            #expect(groups.map(\.count).max()! - groups.map(\.count).min()! <= 1)
            #expect((0..<batchSize).map(step.partner).sorted() == Array(0..<batchSize))
        }
    }

    @Test func partnersAndWeightsChangeWithSeedStepAndPosition() {
        let mixing = Mixing(mixupAlpha: 1)!
        func partners(_ seed: UInt64, _ step: Int) -> [Int] {
            let step = mixing.plan(seed: seed, step: step, batchSize: 64)
            return (0..<64).map(step.partner)
        }
        #expect(partners(1, 1) == partners(1, 1))
        #expect(partners(1, 1) != partners(1, 2) && partners(1, 1) != partners(2, 1))
        // Groups are shifted by different distances.
        #expect(Set((0..<8).map { partners(1, 1)[8 * $0] - 8 * $0 }).count > 2)
        var weights: Set<Float> = []
        for step in 0..<10 {
            for position in 0..<64 {
                guard
                    case .blend(let weight) = mixing.plan(seed: 1, step: step, batchSize: 64)
                        .recipe(of: position, height: 4, width: 4)
                else {
                    Issue.record("mixup pastes")
                    return
                }
                weights.insert(weight)
            }
        }
        #expect(weights.count > 630)
    }

    @Test func rectanglesHaveTheProportionsOfTheImageAndItsMissingShare() {
        let mixing = Mixing(cutmixAlpha: 1)!
        var shares: [Double] = [], whole = 0
        for step in 0..<200 {
            let plan = mixing.plan(seed: 3, step: step, batchSize: 16)
            for position in 0..<16 {
                guard case .paste(let part) = plan.recipe(of: position, height: 100, width: 200) else {
                    Issue.record("cutmix blends")
                    return
                }
                #expect(
                    part.top >= 0 && part.left >= 0 && part.top + part.height <= 100 && part.left + part.width <= 200)
                shares.append(Double(part.height * part.width) / 20_000)
                let isCut =
                    part.top == 0 || part.left == 0 || part.top + part.height == 100 || part.left + part.width == 200
                if !isCut {
                    whole += 1
                    #expect(abs(part.width - 2 * part.height) <= 2)
                }
            }
        }
        #expect(whole > 300)
        // With uniform λ, uncut, 1 − λ has the mean 1/2; the border leaves r² (1 − r/4)² of it, r² = 1 − λ uniform:
        // 1/2 − 2/4 · 2/5 + 1/16 · 1/3 = 0.3208.
        #expect(abs(shares.reduce(0, +) / Double(shares.count) - 0.3208) < 0.02)
    }

    @Test func withBothEachStepTakesOneAtRandom() {
        let mixing = Mixing(mixupAlpha: 0.2, cutmixAlpha: 1)!
        let pasting = (0..<400).filter { mixing.plan(seed: 1, step: $0, batchSize: 8).pastes }.count
        #expect(abs(pasting - 200) < 50)
        #expect(Mixing() == nil)
    }
}
