import DTrainTensor

/// What `--augment` can name: one change to each sample, or a way of mixing samples of a batch.
public enum Augmentation: Hashable, Sendable {
    /// `preset`: what the model's family is usually trained with.
    case preset
    /// `resize:SIDE`: the shorter side.
    case resize(side: Int)
    /// `resize:HEIGHTxWIDTH`.
    case resizeExactly(height: Int, width: Int)
    /// `center-crop:SIDE`.
    case centerCrop(side: Int)
    /// `random-crop:SIDE:PADDING`, without padding `random-crop:SIDE`.
    case randomCrop(side: Int, padding: Int)
    /// `random-resized-crop:SIDE`.
    case randomResizedCrop(side: Int)
    /// `flip`.
    case flip
    /// `rotation:DEGREES`.
    case rotation(degrees: Float)
    /// `color-jitter:BRIGHTNESS:CONTRAST:SATURATION:HUE`; a hue of 0 may be left out.
    case colorJitter(brightness: Float, contrast: Float, saturation: Float, hue: Float)
    /// `cutout:SIDE`.
    case cutout(side: Int)
    /// `trivial-augment`.
    case trivialAugment
    /// `permute-pixels`.
    case permutePixels
    /// `mixup:ALPHA`, by default 0.2.
    case mixup(alpha: Float)
    /// `cutmix:ALPHA`, by default 1.
    case cutmix(alpha: Float)

    /// The first word of the text.
    public var name: String { String(description.prefix { $0 != ":" }) }

    /// The transforms of training; none for `preset`, which depends on the family, and for mixing.
    func trainingTransforms(_ context: TransformContext) throws(DataUsageError) -> [any Transform] {
        switch self {
        case .preset, .mixup, .cutmix: []
        case .resize(let side): [Resize(.shorterSide(side))]
        case .resizeExactly(let height, let width): [Resize(.exactly(height: height, width: width))]
        case .centerCrop(let side): [CenterCrop(side)]
        case .randomCrop(let side, let padding): [RandomCrop(side, padding: padding)]
        case .randomResizedCrop(let side): [RandomResizedCrop(side)]
        case .flip: [HorizontalFlip()]
        case .rotation(let degrees): [RandomRotation(degrees: degrees)]
        case .colorJitter(let brightness, let contrast, let saturation, let hue):
            [ColorJitter(brightness: brightness, contrast: contrast, saturation: saturation, hue: hue)]
        case .cutout(let side): [Cutout(side: side, mean: context.normalisation)]
        case .trivialAugment: [TrivialAugment()]
        case .permutePixels: [try context.pixelPermutation()]
        }
    }

    /// What evaluation does in the place of this: what belongs to the data stays, a random crop becomes one in the middle,
    /// the rest goes.
    func evaluationTransforms(_ context: TransformContext) throws(DataUsageError) -> [any Transform] {
        switch self {
        case .resize, .resizeExactly, .centerCrop, .permutePixels: try trainingTransforms(context)
        case .randomCrop(let side, _): [CenterCrop(side)]
        case .randomResizedCrop(let side): PresetFamily.imagenet.evaluation(side: side)
        default: []
        }
    }

    /// True for what makes all samples equally large.
    var fixesSize: Bool {
        switch self {
        case .preset, .resizeExactly, .centerCrop, .randomCrop, .randomResizedCrop: true
        default: false
        }
    }
}

/// What transforms are made for: the samples at one place of the list.
struct TransformContext {
    let seed: UInt64
    let normalisation: Normalisation
    /// Height, width, channels; where the samples' sizes differ, those of one of them.
    var shape: Shape
    /// True where all samples have `shape`.
    var sizeIsFixed: Bool

    func pixelPermutation() throws(DataUsageError) -> PixelPermutation {
        guard sizeIsFixed else { throw .augmentationNeedsOneSize(name: Augmentation.permutePixels.name) }
        return PixelPermutation(seed: seed, sampleShape: shape)
    }
}
