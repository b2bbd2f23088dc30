import DTrainTensor

/// What happens to samples on their way to the model: in training, in evaluation, and between samples of a batch.
public struct TransformPipeline: Sendable {
    public let training: [any Transform]
    public let evaluation: [any Transform]
    /// How samples of a training batch are mixed, if at all.
    public let mixing: Mixing?
    /// Height, width, channels of what the model sees.
    public let outputShape: Shape

    /// Makes the transforms of `augmentations`.
    ///
    /// Evaluation keeps what belongs to the data (resizing, crops in the middle, permuted pixels), and takes the middle
    /// where training crops at random. If the samples' sizes differ, or are not the wanted `imageSize`, and no augmentation
    /// makes them equal, the evaluation preset of `family` comes first, in training too.
    ///
    /// - Parameters:
    ///   - sampleShape: height, width, channels of the samples; of one of them where `sizesMayDiffer`.
    ///   - imageSize: the height and width that the model wants. By default that of the samples, or where their sizes
    ///     differ 224 for the family `imagenet`, 32 for `cifar`, 28 for `mnist`.
    ///   - normalisation: of the data set: cutout covers with its mean.
    ///   - seed: the run's.
    ///
    /// Throws `DataUsageError.augmentationNeedsOneSize` for permuted pixels of samples that are not equally large there,
    /// and `.wrongImageSize` if the augmentations lead to another size than `imageSize`.
    public init(
        _ augmentations: [Augmentation], family: PresetFamily, sampleShape: Shape, sizesMayDiffer: Bool = false,
        imageSize: Int? = nil, normalisation: Normalisation, seed: UInt64
    ) throws(DataUsageError) {
        let side = imageSize ?? family.side(of: sampleShape, sizesMayDiffer: sizesMayDiffer)
        let fits = !sizesMayDiffer && (imageSize == nil || sampleShape == [side, side, sampleShape[2]])
        let needsPreset = !fits && !augmentations.contains(where: \.fixesSize)
        let context = TransformContext(
            seed: seed, normalisation: normalisation, shape: sampleShape, sizeIsFixed: !sizesMayDiffer)
        var training = TransformList(context: context), evaluation = TransformList(context: context)
        if needsPreset {
            training.append(family.evaluation(side: side))
            evaluation.append(family.evaluation(side: side))
        }
        for augmentation in augmentations {
            if augmentation == .preset {
                training.append(family.training(side: side))
                evaluation.append(family.evaluation(side: side))
            } else {
                training.append(try augmentation.trainingTransforms(training.context))
                evaluation.append(try augmentation.evaluationTransforms(evaluation.context))
            }
        }
        self.training = joiningResizeAndCrop(training.transforms)
        self.evaluation = joiningResizeAndCrop(evaluation.transforms)
        mixing = Mixing(augmentations)
        outputShape = training.context.shape
        precondition(outputShape == evaluation.context.shape, "each augmentation has its counterpart in evaluation")
        if let imageSize, outputShape != [imageSize, imageSize, sampleShape[2]] {
            throw .wrongImageSize(wanted: imageSize, actual: outputShape)
        }
    }
}

/// Transforms, and what they have made of the samples.
private struct TransformList {
    private(set) var transforms: [any Transform] = []
    private(set) var context: TransformContext

    init(context: TransformContext) { self.context = context }

    /// Adds `more`, less resizing and crops in the middle that would change nothing.
    mutating func append(_ more: [any Transform]) {
        for transform in more {
            let shape = transform.outputShape(of: context.shape)
            let isIdle =
                context.sizeIsFixed && shape == context.shape && (transform is Resize || transform is CenterCrop)
            if !isIdle { transforms.append(transform) }
            context.shape = shape
            context.sizeIsFixed = context.sizeIsFixed || transform.fixesSize
        }
    }
}

/// `transforms` with each crop in the middle done by the resize right before it, where that leaves enough.
public func joiningResizeAndCrop(_ transforms: [any Transform]) -> [any Transform] {
    transforms.reduce(into: []) { joined, transform in
        if let crop = transform as? CenterCrop, let resize = joined.last as? Resize,
            case .shorterSide(let shorterSide) = resize.size, crop.side <= shorterSide
        {
            joined[joined.count - 1] = ResizedCenter(shorterSide: shorterSide, side: crop.side)
        } else {
            joined.append(transform)
        }
    }
}

extension PresetFamily {
    /// The side of the images where nobody has asked for one.
    fileprivate func side(of sampleShape: Shape, sizesMayDiffer: Bool) -> Int {
        if !sizesMayDiffer && sampleShape[0] == sampleShape[1] { return sampleShape[0] }
        return switch self {
        case .imagenet: 224
        case .cifar: 32
        case .mnist: 28
        }
    }
}
