import DTrainTensor

/// How the samples of a training batch are mixed: mixup (Zhang et al. 2017, "mixup: beyond empirical risk minimization")
/// takes λ of a sample and 1 − λ of its partner, pixel by pixel; cutmix (Yun et al. 2019, "CutMix: regularization strategy
/// to train strong classifiers with localizable features") puts a rectangle of the partner into the sample. The loss is
/// λ of that of the sample's label and 1 − λ of that of its partner's, with the exact share of the area for cutmix.
///
/// λ is of Beta(α, α), drawn for each position from (seed, step, position in the global batch). Partners are in one group of
/// at most eight neighbouring positions of the global batch: in each step the members of a group are shifted against each
/// other by a random distance, so that nobody is its own partner. All this is independent of how the batch is cut into
/// shards; the rank of a sample loads its partner, with the partner's own transforms. With both mixup and cutmix, each step
/// takes one of them at random, as torchvision's reference training.
public struct Mixing: Hashable, Sendable {
    /// α of mixup; nil for none.
    public let mixupAlpha: Float?
    /// α of cutmix; nil for none.
    public let cutmixAlpha: Float?

    /// Nil without both.
    public init?(mixupAlpha: Float? = nil, cutmixAlpha: Float? = nil) {
        guard mixupAlpha != nil || cutmixAlpha != nil else { return nil }
        precondition((mixupAlpha ?? 1) > 0 && (cutmixAlpha ?? 1) > 0)
        self.mixupAlpha = mixupAlpha
        self.cutmixAlpha = cutmixAlpha
    }

    /// What `augmentations` say; nil if they do not mix.
    public init?(_ augmentations: [Augmentation]) {
        var mixup: Float?, cutmix: Float?
        for augmentation in augmentations {
            switch augmentation {
            case .mixup(let alpha): mixup = alpha
            case .cutmix(let alpha): cutmix = alpha
            default: break
            }
        }
        self.init(mixupAlpha: mixup, cutmixAlpha: cutmix)
    }

    /// The choices of `step`, for a global batch of `batchSize` samples.
    package func plan(seed: UInt64, step: Int, batchSize: Int) -> MixingStep {
        MixingStep(self, seed: seed, step: step, batchSize: batchSize)
    }
}

/// What mixing does in one step: a function of (seed, step) and the size of the global batch.
package struct MixingStep {
    /// What becomes of one sample.
    package enum Recipe: Equatable {
        /// This much of the sample, the rest of the partner.
        case blend(weight: Float)
        /// The rectangle comes from the partner.
        case paste(PixelRectangle)
    }

    private static let largestGroup = 8
    private let random: CounterRandom
    private let batchSize: Int
    private let groupCount: Int
    private let alpha: Float
    package let pastes: Bool

    fileprivate init(_ mixing: Mixing, seed: UInt64, step: Int, batchSize: Int) {
        random = CounterRandom(seed: seed, purpose: .mixing, stream: UInt32(truncatingIfNeeded: step))
        self.batchSize = batchSize
        groupCount = (batchSize + Self.largestGroup - 1) / Self.largestGroup
        if let mixup = mixing.mixupAlpha, let cutmix = mixing.cutmixAlpha {
            pastes = random.below(2, Counter.choice) == 1
            alpha = pastes ? cutmix : mixup
        } else {
            pastes = mixing.mixupAlpha == nil
            alpha = (mixing.mixupAlpha ?? mixing.cutmixAlpha)!
        }
    }

    /// The counters of one step: the choice, one a group, and a block a position.
    private enum Counter {
        static let choice: UInt64 = 1 << 62
        static func group(_ group: Int) -> UInt64 { 1 << 61 | UInt64(group) }
        static func position(_ position: Int) -> UInt64 { UInt64(position) << 10 }
    }

    /// The positions of the group that `position` belongs to: groups differ in size by at most one.
    package func group(of position: Int) -> Range<Int> {
        precondition(position >= 0 && position < batchSize)
        // The group whose first position is the last one at or before this.
        let index = ((position + 1) * groupCount - 1) / batchSize
        return index * batchSize / groupCount..<(index + 1) * batchSize / groupCount
    }

    /// The position whose sample is mixed into the one at `position`; itself only in a batch of one.
    package func partner(of position: Int) -> Int {
        let group = group(of: position)
        guard group.count > 1 else { return position }
        let shift = 1 + random.below(group.count - 1, Counter.group(group.lowerBound))
        return group.lowerBound + (position - group.lowerBound + shift) % group.count
    }

    /// How the sample at `position` is mixed, for images of that size.
    package func recipe(of position: Int, height: Int, width: Int) -> Recipe {
        let first = Counter.position(position)
        let weight = random.beta(Double(alpha), first)
        guard pastes else { return .blend(weight: Float(weight)) }
        // Half the sides of the rectangle: its area is 1 − λ of the image's, where the border does not cut it.
        let half = 0.5 * (1 - weight).squareRoot()
        func span(_ extent: Int, _ draw: UInt64) -> Range<Int> {
            let middle = random.below(extent, first + 512 + draw), reach = Int(half * Double(extent))
            return max(0, middle - reach)..<min(extent, middle + reach)
        }
        let rows = span(height, 0), columns = span(width, 1)
        return .paste(
            PixelRectangle(
                top: rows.lowerBound, left: columns.lowerBound, height: rows.count, width: columns.count))
    }
}
