import DTrainData
import DTrainTensor
import Testing

/// Transforms against torchvision's on the same pixels, byte for byte.
@Suite struct PillowTests {
    let fixture: TransformFixture

    init() throws { fixture = try TransformFixture.shared.get() }

    @Test(arguments: [1, 3]) func resizing(channels: Int) throws {
        let cases: [(height: Int, width: Int, to: [(Int, Int)])] = [
            (37, 53, [(16, 24), (60, 64), (37, 20), (18, 53), (37, 53)]), (200, 150, [(20, 31)]), (1, 1, [(5, 7)]),
            (5, 4, [(1, 1)]), (300, 7, [(2, 9)]), (9, 300, [(11, 3)]),
        ]
        let result = PixelBuffer()
        for (height, width, sizes) in cases {
            for (newHeight, newWidth) in sizes {
                resizeBilinear(pattern(height, width, channels), height: newHeight, width: newWidth, into: result)
                try fixture.expect(result, is: "resize-\(height)x\(width)x\(channels)-\(newHeight)x\(newWidth)")
            }
        }
        // Along lines first, and across them first.
        for width in [444, 700] {
            resizeBilinear(pattern(1100, 900, channels), height: 333, width: width, into: result)
            try fixture.expectChecksum(result, is: "resize-1100x900x\(channels)-333x\(width)")
        }
    }

    @Test(arguments: [1, 3]) func resizingAPart(channels: Int) throws {
        let result = PixelBuffer()
        for (top, left, height, width) in [(5, 7, 20, 31), (0, 0, 37, 10), (36, 52, 1, 1), (3, 0, 8, 53)] {
            let part = PixelRectangle(top: top, left: left, height: height, width: width)
            resizeBilinear(pattern(37, 53, channels), from: part, height: 18, width: 18, into: result)
            try fixture.expect(result, is: "part-\(channels)-\(top)-\(left)-\(height)-\(width)")
        }
    }

    @Test(arguments: [1, 3]) func resizingTheShorterSideAndCuttingTheMiddle(channels: Int) throws {
        for side in [20, 41] {
            for (height, width) in [(37, 53), (53, 37)] {
                try fixture.expectChecksum(
                    pattern(height, width, channels).applying(Resize(.shorterSide(side))),
                    is: "shorter-\(height)x\(width)x\(channels)-\(side)")
            }
        }
        for side in [22, 23, 24, 25, 45, 46, 60, 61] {
            try fixture.expectChecksum(
                pattern(37, 53, channels).applying(CenterCrop(side)), is: "center-\(channels)-\(side)")
        }
    }

    @Test(arguments: [1, 3]) func rotating(channels: Int) throws {
        let angles = ["0", "10", "-10", "30", "45", "60", "90", "180", "270", "-90", "-135", "123.456", "359.9"]
        let result = PixelBuffer()
        for angle in angles {
            for (height, width) in [(24, 24), (21, 30)] {
                rotate(pattern(height, width, channels), degrees: Double(angle)!, into: result)
                try fixture.expectChecksum(result, is: "rotate-\(height)x\(width)x\(channels)-\(angle)")
            }
        }
        rotate(pattern(21, 30, channels), degrees: 17, into: result)
        try fixture.expect(result, is: "rotate-\(channels)")
    }

    @Test(arguments: [1, 3]) func adjustingColors(channels: Int) throws {
        for (low, high) in [(0, 255), (60, 140), (77, 77)] {
            let image = pattern(20, 24, channels, low: low, high: high)
            for text in ["0", "0.3", "1", "1.7", "6.5"] {
                let factor = Float(text)!
                let name = "\(channels)-\(low)-\(high)-\(text)"
                try fixture.expectChecksum(
                    image.changed { $0.adjustBrightness(factor) }, is: "brightness-" + name)
                try fixture.expectChecksum(image.changed { $0.adjustContrast(factor) }, is: "contrast-" + name)
                try fixture.expectChecksum(
                    image.changed { $0.adjustSaturation(factor) }, is: "saturation-" + name)
                try fixture.expectChecksum(
                    image.changed { $0.adjustSharpness(of: image, factor) }, is: "sharpness-" + name)
            }
        }
        for (height, width) in [(2, 5), (5, 2), (3, 3)] {
            let image = pattern(height, width, channels)
            try fixture.expectChecksum(
                image.changed { $0.adjustSharpness(of: image, 1.5) }, is: "sharpness-\(height)x\(width)x\(channels)")
        }
    }

    @Test(arguments: [1, 3]) func theOperationsOfTrivialAugment(channels: Int) throws {
        let names = [
            "Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
            "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize",
        ]
        let result = PixelBuffer()
        for (operation, name) in zip(TrivialAugment.Operation.allCases, names) {
            let hasStrength = operation.strength(0) != operation.strength(30)
            for level in hasStrength ? 0...30 : 0...0 {
                for sign in operation.isSigned ? [1, -1] : [1] {
                    let strength = Float(sign) * operation.strength(level)
                    for (low, high) in [(0, 255), (60, 140)] {
                        TrivialAugment.apply(
                            operation, strength: strength, to: pattern(20, 24, channels, low: low, high: high),
                            into: result)
                        try fixture.expectChecksum(result, is: "trivial-\(name)-\(channels)-\(low)-\(level)-\(sign)")
                        if low == 0, channels == 3, level == 0 || level == 11 {
                            try fixture.expect(result, is: "trivial-\(name)-\(level)-\(sign)")
                        }
                    }
                    if operation == .rotate {
                        TrivialAugment.apply(
                            operation, strength: strength, to: pattern(22, 22, channels), into: result)
                        try fixture.expectChecksum(result, is: "trivial-square-\(channels)-\(level)-\(sign)")
                    }
                }
            }
        }
    }

    /// Red counts fastest.
    @Test func everyColorThereIs() throws {
        let colors = PixelBuffer([4096, 4096, 3])
        for code in 0..<1 << 24 {
            for channel in 0..<3 {
                colors.bytes[3 * code + channel] = UInt8(truncatingIfNeeded: code >> (8 * channel))
            }
        }
        for turn in ["0.1", "-0.37", "0.5", "0.0"] {
            try fixture.expectChecksum(colors.changed { $0.adjustHue(Float(turn)!) }, is: "hue-\(turn)")
        }
        for factor in ["0.4", "1.37"] {
            try fixture.expectChecksum(
                colors.changed { $0.adjustSaturation(Float(factor)!) }, is: "saturation-\(factor)")
        }
    }
}
