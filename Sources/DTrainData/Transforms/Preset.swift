import DTrainTensor

/// Models that are usually trained with the same transforms.
public enum PresetFamily: String, Hashable, Sendable, CaseIterable {
    /// Large images: AlexNet, VGG, GoogLeNet, ResNet, DenseNet.
    case imagenet
    /// Images of 32 pixels.
    case cifar
    /// Digits and the like: nothing is varied.
    case mnist

    /// The family of the models that are made for images of `shape` (height, width, channels).
    public static func usual(forImagesOf shape: Shape) -> PresetFamily {
        let side = max(shape[0], shape[1])
        return side <= 28 ? .mnist : side <= 64 ? .cifar : .imagenet
    }

    /// The transforms of training, to `side` × `side` pixels.
    ///
    /// `imagenet`: `RandomResizedCrop` and `HorizontalFlip`, as torchvision's reference training. `cifar`: `RandomCrop` with
    /// an eighth of the side as padding (4 of 32) and `HorizontalFlip`, as He et al. 2015. `mnist`: those of evaluation.
    public func training(side: Int) -> [any Transform] {
        switch self {
        case .imagenet: [RandomResizedCrop(side), HorizontalFlip()]
        case .cifar: evaluation(side: side) + [RandomCrop(side, padding: side / 8), HorizontalFlip()]
        case .mnist: evaluation(side: side)
        }
    }

    /// The transforms of evaluation, to `side` × `side` pixels.
    ///
    /// `imagenet`: the shorter side to 256 where `side` is 224, in this proportion for others, then the middle. The other
    /// families take the whole shorter side; for images that have this size already, that is nothing.
    public func evaluation(side: Int) -> [any Transform] {
        switch self {
        case .imagenet: [Resize(.shorterSide((2 * side * 256 + 224) / 448)), CenterCrop(side)]
        case .cifar, .mnist: [Resize(.shorterSide(side)), CenterCrop(side)]
        }
    }
}
