import DTrainTensor

// Changes of colour in place, byte for byte as Pillow's ImageEnhance makes them: the image is mixed with a degenerate one
// (black, its mean grey, its grey copy, a smoothed one), and a factor above 1 goes away from it. 1 changes nothing.

extension PixelBuffer {
    /// Mixes with black.
    package func adjustBrightness(_ factor: Float) {
        mapBytes { mixed(0, Int32($0), factor) }
    }

    /// Mixes with the mean of the grey image.
    package func adjustContrast(_ factor: Float) {
        guard byteCount > 0 else { return }
        var sum = 0
        if channels == 3 {
            let source = bytes.base
            for first in stride(from: 0, to: byteCount, by: 3) { sum += Int(luma(source + first)) }
        } else {
            for byte in bytes.buffer { sum += Int(byte) }
        }
        let mean = Int32(Double(sum) / Double(byteCount / (channels == 3 ? 3 : 1)) + 0.5)
        mapBytes { mixed(mean, Int32($0), factor) }
    }

    /// Mixes each pixel with its grey; nothing happens to an image without colour.
    package func adjustSaturation(_ factor: Float) {
        guard channels == 3 else { return }
        let base = bytes.base
        for first in stride(from: 0, to: byteCount, by: 3) {
            let pixel = base + first
            let grey = luma(pixel)
            pixel[0] = mixed(grey, Int32(pixel[0]), factor)
            pixel[1] = mixed(grey, Int32(pixel[1]), factor)
            pixel[2] = mixed(grey, Int32(pixel[2]), factor)
        }
    }

    /// Becomes `image` mixed with its smoothed copy: the mean under a 3×3 window whose middle counts five times. The
    /// outermost pixels are not smoothed.
    package func adjustSharpness(of image: PixelBuffer, _ factor: Float) {
        copy(image)
        guard height >= 3, width >= 3 else { return }
        let stride = width * channels
        for row in 1..<height - 1 {
            let above = image.bytes.base + (row - 1) * stride
            let line = above + stride
            let below = line + stride
            let target = bytes.base + row * stride
            for index in channels..<stride - channels {
                let (left, right) = (index - channels, index + channels)
                var sum = Int32(above[left]) + Int32(above[index]) + Int32(above[right])
                sum += Int32(line[left]) + 5 * Int32(line[index]) + Int32(line[right])
                sum += Int32(below[left]) + Int32(below[index]) + Int32(below[right])
                target[index] = mixed((2 * sum + 13) / 26, Int32(line[index]), factor)
            }
        }
    }

    /// Replaces every byte by what `value` says of it, computed once for each of the 256.
    func mapBytes(_ value: (UInt8) -> UInt8) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { table in
            for byte in 0...255 as ClosedRange<UInt8> { table[Int(byte)] = value(byte) }
            let (base, count) = (bytes.base, byteCount)
            for index in 0..<count { base[index] = table[Int(base[index])] }
        }
    }
}

/// The grey of an RGB pixel: 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point (ITU-R BT.601).
private func luma(_ pixel: UnsafePointer<UInt8>) -> Int32 {
    (Int32(pixel[0]) * 19595 + Int32(pixel[1]) * 38470 + Int32(pixel[2]) * 7471 + 0x8000) >> 16
}

/// `from` + `factor` (`to` − `from`), cut to a byte, rounded towards 0.
private func mixed(_ from: Int32, _ to: Int32, _ factor: Float) -> UInt8 {
    let value = Float(from) + factor * Float(to - from)
    return UInt8(max(0, min(255, value)))
}
