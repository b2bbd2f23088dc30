import DTrainTensor

/// One operation, chosen at random, at a random strength (Müller & Hutter 2021, "TrivialAugment: tuning-free yet
/// state-of-the-art data augmentation"): the wide space of 14 operations and 31 strengths, byte for byte as torchvision's
/// `TrivialAugmentWide` on images.
///
/// Geometric operations take the nearest pixel and leave black where nothing comes from.
public struct TrivialAugment: Transform {
    public let appliesInEvaluation = false

    public init() {}

    /// The operations in torchvision's order.
    package enum Operation: Int, CaseIterable, Sendable {
        case identity, shearX, shearY, translateX, translateY, rotate, brightness, color, contrast, sharpness
        case posterize, solarize, autocontrast, equalize

        static let count = allCases.count

        /// True where a strength may be turned round.
        package var isSigned: Bool { Self.shearX.rawValue...Self.sharpness.rawValue ~= rawValue }

        /// The strength of step `level`, 0 … 30: a slope, pixels, degrees, what a factor differs from 1, bits, or a
        /// threshold; 0 where there is none.
        package func strength(_ level: Int) -> Float {
            switch self {
            case .identity, .autocontrast, .equalize: 0
            case .shearX, .shearY, .brightness, .color, .contrast, .sharpness: Self.step(level, to: 0.99)
            case .translateX, .translateY: Self.step(level, to: 32)
            case .rotate: Self.step(level, to: 135)
            case .posterize: Float(8 - (2 * level + 5) / 10)
            case .solarize: 255 - 8.5 * Float(level)
            }
        }

        /// Step `level` of thirty from 0 to `end`, rounded as PyTorch's `linspace`, which counts the upper half from the
        /// end: half of 32 is 15.999999, and fifteen whole pixels.
        private static func step(_ level: Int, to end: Float) -> Float {
            let step = Double(end / 30)
            return level < 15 ? Float(step * Double(level)) : Float(Double(end) - step * Double(30 - level))
        }
    }

    public func apply(_ image: PixelBuffer, into result: PixelBuffer, random: SampleRandom) {
        let operation = Operation(rawValue: random.below(Operation.count, 0))!
        let strength = operation.strength(random.below(31, 1))
        let isTurned = operation.isSigned && random.below(2, 2) == 1
        Self.apply(operation, strength: isTurned ? -strength : strength, to: image, into: result)
    }

    /// Applies one operation.
    package static func apply(
        _ operation: Operation, strength: Float, to image: PixelBuffer, into result: PixelBuffer
    ) {
        switch operation {
        case .shearX: applyAffine(AffineMap(b: Double(strength)), to: image, into: result)
        case .shearY: applyAffine(AffineMap(d: Double(strength)), to: image, into: result)
        case .translateX: applyAffine(AffineMap(c: -Double(Int(strength))), to: image, into: result)
        case .translateY: applyAffine(AffineMap(f: -Double(Int(strength))), to: image, into: result)
        case .rotate: rotate(image, degrees: Double(strength), into: result)
        case .sharpness: result.adjustSharpness(of: image, 1 + strength)
        default:
            result.copy(image)
            switch operation {
            case .brightness: result.adjustBrightness(1 + strength)
            case .color: result.adjustSaturation(1 + strength)
            case .contrast: result.adjustContrast(1 + strength)
            case .posterize: result.posterize(bits: Int(strength))
            case .solarize: result.solarize(threshold: strength)
            case .autocontrast: result.autocontrast()
            case .equalize: result.equalize()
            default: break
            }
        }
    }
}
