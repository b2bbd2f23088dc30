import DTrainTensor

extension PixelBuffer {
    /// Turns the colours of an RGB image by `turn` of the colour circle, −0.5 … 0.5, as torchvision's `adjust_hue`: each
    /// pixel goes to hue, saturation and value as bytes and back. Nothing happens to an image without colour.
    package func adjustHue(_ turn: Float) {
        guard channels == 3 else { return }
        let shift = UInt8(truncatingIfNeeded: Int(Double(turn) * 255))
        let base = bytes.base
        for first in stride(from: 0, to: byteCount, by: 3) {
            let pixel = base + first
            var color = HSV(red: pixel[0], green: pixel[1], blue: pixel[2])
            color.hue &+= shift
            (pixel[0], pixel[1], pixel[2]) = color.rgb
        }
    }
}

/// Hue, saturation, value as bytes, with the arithmetic (and the rounding errors) of Pillow's HSV images.
struct HSV {
    var hue: UInt8
    var saturation: UInt8
    var value: UInt8

    init(red: UInt8, green: UInt8, blue: UInt8) {
        let most = max(red, green, blue), least = min(red, green, blue)
        value = most
        guard most > least else {
            (hue, saturation) = (0, 0)
            return
        }
        let range = Float(most - least)
        let fromRed = Float(most - red) / range
        let fromGreen = Float(most - green) / range
        let fromBlue = Float(most - blue) / range
        let sector: Float
        if red == most {
            sector = fromBlue - fromGreen
        } else if green == most {
            sector = Float(2 + Double(fromRed) - Double(fromBlue))
        } else {
            sector = Float(4 + Double(fromGreen) - Double(fromRed))
        }
        // In 5/6 ..< 11/6: the remainder after 1.
        let turned = Double(sector) / 6 + 1
        let circle = Float(turned >= 1 ? turned - 1 : turned)
        hue = UInt8(min(255, Double(circle) * 255))
        saturation = UInt8(Double(range / Float(most)) * 255)
    }

    var rgb: (UInt8, UInt8, UInt8) {
        guard saturation > 0 else { return (value, value, value) }
        let sector = Double(Float(hue)) * 6 / 255
        let part = Float(sector - Double(Int(sector)))
        let share = Float(saturation) / 255
        func byte(_ share: Double) -> UInt8 { UInt8(Double(value) * (1 - share) + 0.5) }
        let low = byte(Double(share))
        let falling = byte(Double(share * part))
        let rising = byte(Double(share) * (1 - Double(part)))
        return switch Int(sector) % 6 {
        case 0: (value, rising, low)
        case 1: (falling, value, low)
        case 2: (low, value, rising)
        case 3: (low, falling, value)
        case 4: (rising, low, value)
        default: (value, low, falling)
        }
    }
}
