import DTrainData
import DTrainTensor
import Testing

@Suite struct TransformPipelineTests {
    private static let normalisation = Normalisation(mean: [0.5, 0.4, 0.3], standardDeviation: [1, 1, 1])

    private func pipeline(
        _ text: String, _ family: PresetFamily, shape: Shape = [32, 32, 3], differing: Bool = false,
        imageSize: Int? = nil, seed: UInt64 = 0
    ) throws -> TransformPipeline {
        try TransformPipeline(
            Augmentation.parse(text), family: family, sampleShape: shape, sizesMayDiffer: differing,
            imageSize: imageSize, normalisation: Self.normalisation, seed: seed)
    }

    /// What the transforms are, in words.
    private func names(_ transforms: [any Transform]) -> [String] {
        transforms.map { transform in
            switch transform {
            case let resize as Resize:
                switch resize.size {
                case .shorterSide(let side): "resize \(side)"
                case .exactly(let height, let width): "resize \(height)x\(width)"
                }
            case let both as ResizedCenter: "resize \(both.shorterSide) center \(both.side)"
            case let crop as CenterCrop: "center \(crop.side)"
            case let crop as RandomCrop: "crop \(crop.side) \(crop.padding)"
            case let crop as RandomResizedCrop: "part \(crop.side)"
            case is HorizontalFlip: "flip"
            default: "\(type(of: transform))"
            }
        }
    }

    @Test func withoutAugmentationSamplesOfOneSizeStayAsTheyAre() throws {
        for family in PresetFamily.allCases {
            let pipeline = try pipeline("none", family)
            #expect(pipeline.training.isEmpty && pipeline.evaluation.isEmpty && pipeline.mixing == nil)
            #expect(pipeline.outputShape == [32, 32, 3])
        }
        #expect(try pipeline("", .imagenet, shape: [20, 48, 1]).outputShape == [20, 48, 1])
    }

    @Test func thePresets() throws {
        let imagenet = try pipeline("preset", .imagenet, shape: [375, 500, 3], differing: true)
        #expect(names(imagenet.training) == ["part 224", "flip"])
        #expect(names(imagenet.evaluation) == ["resize 256 center 224"])
        #expect(imagenet.outputShape == [224, 224, 3])
        let inception = try pipeline("preset", .imagenet, shape: [375, 500, 3], differing: true, imageSize: 299)
        #expect(names(inception.evaluation) == ["resize 342 center 299"])
        let cifar = try pipeline("preset", .cifar)
        #expect(names(cifar.training) == ["crop 32 4", "flip"] && cifar.evaluation.isEmpty)
        let mnist = try pipeline("preset", .mnist, shape: [28, 28, 1])
        #expect(mnist.training.isEmpty && mnist.evaluation.isEmpty)
    }

    @Test func imagesOfManySizesAreMadeEqual() throws {
        let plain = try pipeline("none", .imagenet, shape: [375, 500, 3], differing: true)
        #expect(names(plain.training) == ["resize 256 center 224"])
        #expect(names(plain.evaluation) == names(plain.training) && plain.outputShape == [224, 224, 3])
        let flipped = try pipeline("flip", .cifar, shape: [40, 50, 3], differing: true)
        #expect(names(flipped.training) == ["resize 32 center 32", "flip"])
        #expect(names(flipped.evaluation) == ["resize 32 center 32"])
        let cifar = try pipeline("preset", .cifar, shape: [40, 50, 3], differing: true, imageSize: 64)
        #expect(names(cifar.training) == ["resize 64 center 64", "crop 64 8", "flip"])
        #expect(names(cifar.evaluation) == ["resize 64 center 64"] && cifar.outputShape == [64, 64, 3])
    }

    @Test func aModelThatWantsAnotherSizeGetsIt() throws {
        let resized = try pipeline("none", .imagenet, imageSize: 224)
        #expect(names(resized.training) == ["resize 256 center 224"] && resized.outputShape == [224, 224, 3])
        let same = try pipeline("none", .cifar, imageSize: 32)
        #expect(same.training.isEmpty && same.evaluation.isEmpty)
        #expect(throws: DataUsageError.wrongImageSize(wanted: 224, actual: [28, 28, 3])) {
            try pipeline("random-crop:28", .imagenet, imageSize: 224)
        }
    }

    @Test func evaluationTakesTheMiddleOfWhatTrainingCropsAtRandom() throws {
        let crop = try pipeline("random-crop:28:2,flip,trivial-augment,cutout:8,color-jitter:1:1:1,rotation:5", .cifar)
        #expect(
            names(crop.training) == ["crop 28 2", "flip", "TrivialAugment", "Cutout", "ColorJitter", "RandomRotation"])
        #expect(names(crop.evaluation) == ["center 28"] && crop.outputShape == [28, 28, 3])
        let part = try pipeline("random-resized-crop:112", .imagenet, shape: [375, 500, 3], differing: true)
        #expect(names(part.training) == ["part 112"] && names(part.evaluation) == ["resize 128 center 112"])
        let exact = try pipeline("resize:20x30", .imagenet, shape: [375, 500, 3], differing: true)
        #expect(names(exact.evaluation) == ["resize 20x30"] && exact.outputShape == [20, 30, 3])
    }

    @Test func pixelsArePermutedAlikeInTrainingAndEvaluation() throws {
        let image = pattern(32, 32, 3)
        func permuted(_ transforms: [any Transform]) -> [UInt8] { image.applying(transforms.last!).array() }
        let pipeline = try pipeline("random-crop:32:4,permute-pixels", .cifar, seed: 5)
        #expect(pipeline.training.count == 2 && pipeline.evaluation.count == 1)
        #expect(permuted(pipeline.training) == permuted(pipeline.evaluation))
        #expect(
            permuted(pipeline.training) == image.applying(PixelPermutation(seed: 5, sampleShape: image.shape)).array())
    }

    @Test func permutedPixelsNeedImagesOfOneSize() throws {
        let error = #expect(throws: DataUsageError.self) {
            try pipeline("permute-pixels,center-crop:20", .imagenet, shape: [375, 500, 3], differing: true)
        }
        #expect(error == .augmentationNeedsOneSize(name: "permute-pixels"))
        let fixed = try pipeline(
            "center-crop:20,permute-pixels", .imagenet, shape: [375, 500, 3], differing: true)
        #expect(names(fixed.evaluation) == ["center 20", "PixelPermutation"])
    }

    @Test func cutoutAndMixingAreMadeFromTheList() throws {
        let pipeline = try pipeline("cutout:8,mixup:0.3,cutmix", .cifar)
        #expect((pipeline.training.first as? Cutout)?.fill == [128, 102, 77])
        #expect(pipeline.training.count == 1)
        #expect(pipeline.mixing == Mixing(mixupAlpha: 0.3, cutmixAlpha: 1))
        #expect(try self.pipeline("cutmix:2", .cifar).mixing == Mixing(cutmixAlpha: 2))
    }

    @Test func aFamilyForEachSizeOfImages() {
        #expect(PresetFamily.usual(forImagesOf: [28, 28, 1]) == .mnist)
        #expect(PresetFamily.usual(forImagesOf: [32, 32, 3]) == .cifar)
        #expect(PresetFamily.usual(forImagesOf: [224, 224, 3]) == .imagenet)
    }
}
