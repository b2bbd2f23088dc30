import DTrainData
import DTrainTensor
import Testing

@Suite struct AugmentationTests {
    @Test func readsAListAndWritesIt() throws {
        let text =
            "resize:256,center-crop:224,random-crop:32:4,random-resized-crop:224,flip,rotation:10.0,"
            + "color-jitter:0.4:0.3:0.2:0.1,cutout:8,trivial-augment,permute-pixels,mixup:0.3,cutmix:0.5,preset"
        let list: [Augmentation] = [
            .resize(side: 256), .centerCrop(side: 224), .randomCrop(side: 32, padding: 4),
            .randomResizedCrop(side: 224), .flip, .rotation(degrees: 10),
            .colorJitter(brightness: 0.4, contrast: 0.3, saturation: 0.2, hue: 0.1), .cutout(side: 8),
            .trivialAugment, .permutePixels, .mixup(alpha: 0.3), .cutmix(alpha: 0.5), .preset,
        ]
        #expect(try Augmentation.parse(text) == list)
        #expect(Augmentation.text(of: list) == text)
        #expect(Set(list.map(\.name)) == Set(Augmentation.names))
        #expect(try Augmentation.parse(" resize:20x30 , flip") == [.resizeExactly(height: 20, width: 30), .flip])
        #expect(Augmentation.resizeExactly(height: 20, width: 30).description == "resize:20x30")
    }

    @Test func argumentsThatMayBeLeftOut() throws {
        let list = try Augmentation.parse("random-crop:28,color-jitter:1:2:3,mixup,cutmix")
        #expect(
            list == [
                .randomCrop(side: 28, padding: 0), .colorJitter(brightness: 1, contrast: 2, saturation: 3, hue: 0),
                .mixup(alpha: 0.2), .cutmix(alpha: 1),
            ])
        #expect(Augmentation.text(of: list) == "random-crop:28:0,color-jitter:1.0:2.0:3.0:0.0,mixup:0.2,cutmix:1.0")
        #expect(try Augmentation.parse("") == [] && Augmentation.parse("none") == [])
        #expect(Augmentation.text(of: []) == "none")
    }

    @Test(arguments: [
        ("resize", "arguments are missing"), ("resize:0", "'0' is not a number of pixels from 1 to 4096"),
        ("resize:8x", "'' is not a number of pixels from 1 to 4096"),
        ("resize:8x8x8", "'8x8x8' is not a number of pixels from 1 to 4096"),
        ("center-crop:4097", "'4097' is not a number of pixels from 1 to 4096"),
        ("center-crop:1:1", "it has too many arguments"),
        ("random-crop:8:-1", "'-1' is not a number of pixels from 0 to 4096"),
        ("random-resized-crop:a", "'a' is not a number of pixels from 1 to 4096"),
        ("flip:1", "it takes no arguments"), ("preset:x", "it takes no arguments"),
        ("rotation:181", "'181' is not an angle of 0 to 180 degrees"),
        ("rotation:nan", "'nan' is not an angle of 0 to 180 degrees"),
        ("color-jitter:1:1", "it has too few arguments"),
        ("color-jitter:1:-1:1", "'-1' is not a strength of 0 to 100"),
        ("color-jitter:1:1:1:0.6", "'0.6' is not a hue of 0 to 0.5"),
        ("cutout:", "'' is not a number of pixels from 1 to 4096"),
        ("mixup:0", "'0' is not a number of 0.01 to 100"), ("cutmix:inf", "'inf' is not a number of 0.01 to 100"),
    ])
    func malformedArgumentsAreExplained(text: String, reason: String) throws {
        let name = String(text.prefix { $0 != ":" })
        let form = try #require(
            Augmentation.forms.first { $0 == name || $0.hasPrefix(name + ":") || $0.hasPrefix(name + "[") })
        #expect(throws: DataUsageError.malformedAugmentation(text: text, form: form, reason: reason)) {
            try Augmentation.parse("trivial-augment,\(text)")
        }
    }

    @Test func anUnknownNameListsTheValidOnes() throws {
        let error = #expect(throws: DataUsageError.self) { try Augmentation.parse("permute-pixel") }
        #expect(error == .unknownAugmentation(name: "permute-pixel"))
        let text = "\(try #require(error))"
        #expect(text.contains("did you mean permute-pixels") && text.contains("valid: preset, resize, center-crop"))
        #expect(throws: DataUsageError.unknownAugmentation(name: "")) { try Augmentation.parse("permute-pixels,") }
    }

    @Test func aNameGivenTwiceIsRefused() throws {
        #expect(throws: DataUsageError.repeatedAugmentation(name: "cutout")) {
            try Augmentation.parse("cutout:8,cutout:4")
        }
    }
}
