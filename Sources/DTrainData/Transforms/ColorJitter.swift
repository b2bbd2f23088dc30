import DTrainTensor

/// Changes brightness, contrast, saturation and hue at random and in random order (Krizhevsky et al. 2012 began with
/// colours; this form is torchvision's `ColorJitter`).
///
/// The factors of the first three are uniform in 1 ± strength, never below 0; the hue turns by −`hue` … `hue` of the
/// colour circle. A strength of 0 leaves its property alone. Saturation and hue do nothing to images of one channel.
public struct ColorJitter: Transform {
    public let appliesInEvaluation = false
    public let brightness: Float
    public let contrast: Float
    public let saturation: Float
    /// At most 0.5.
    public let hue: Float

    public init(brightness: Float, contrast: Float, saturation: Float, hue: Float = 0) {
        precondition(brightness >= 0 && contrast >= 0 && saturation >= 0 && hue >= 0 && hue <= 0.5)
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
    }

    public func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        result.copy(image)
        // Each round takes one of the properties that are left, which stand in front.
        var left = SIMD4(0, 1, 2, 3)
        for round in 0..<4 {
            let chosen = random.below(4 - round, UInt16(round))
            adjust(left[chosen], result, random)
            left[chosen] = left[3 - round]
        }
    }

    private func adjust(_ property: Int, _ image: PixelBuffer, _ random: SampleRandom) {
        let draw = random.uniform(UInt16(4 + property))
        func factor(_ strength: Float) -> Float {
            let low = max(0, 1 - strength)
            return low + (1 + strength - low) * draw
        }
        switch property {
        case 0: if brightness > 0 { image.adjustBrightness(factor(brightness)) }
        case 1: if contrast > 0 { image.adjustContrast(factor(contrast)) }
        case 2: if saturation > 0 { image.adjustSaturation(factor(saturation)) }
        default: if hue > 0 { image.adjustHue(hue * (2 * draw - 1)) }
        }
    }
}
