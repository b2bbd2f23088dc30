import DTrainTensor

// What Pillow's ImageOps does with tables of 256 values, in place.

extension PixelBuffer {
    /// Keeps the upper `bits` bits of every byte, 0 … 8.
    package func posterize(bits: Int) {
        let mask = UInt8(truncatingIfNeeded: 0xFF << (8 - bits))
        mapBytes { $0 & mask }
    }

    /// Inverts the bytes that are not below `threshold`.
    package func solarize(threshold: Float) {
        mapBytes { Float($0) < threshold ? $0 : 255 - $0 }
    }

    /// Stretches each channel so that its least value becomes 0 and its greatest 255.
    package func autocontrast() {
        mapChannels { counts, table in
            guard let low = counts.firstIndex(where: { $0 > 0 }), let high = counts.lastIndex(where: { $0 > 0 }),
                high > low
            else { return }
            let scale = 255 / Double(high - low)
            let offset = Double(-low) * scale
            for byte in 0..<256 { table[byte] = UInt8(max(0, min(255, Double(byte) * scale + offset))) }
        }
    }

    /// Makes the values of each channel about equally frequent.
    package func equalize() {
        mapChannels { counts, table in
            guard let last = counts.last(where: { $0 > 0 }) else { return }
            let step = (counts.reduce(0, +) - last) / 255
            guard step > 0 else { return }
            var sum = step / 2
            for byte in 0..<256 {
                table[byte] = UInt8(min(255, sum / step))
                sum += counts[byte]
            }
        }
    }

    /// Replaces the bytes of each channel by a table that `fill` makes of their counts; it starts as the identity.
    private func mapChannels(
        _ fill: (_ counts: UnsafeMutableBufferPointer<Int32>, _ table: UnsafeMutableBufferPointer<UInt8>) -> Void
    ) {
        let (base, count, channels) = (bytes.base, byteCount, channels)
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: 256) { counts in
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { table in
                for channel in 0..<channels {
                    for byte in 0..<256 { (counts[byte], table[byte]) = (0, UInt8(byte)) }
                    for index in stride(from: channel, to: count, by: channels) { counts[Int(base[index])] += 1 }
                    fill(counts, table)
                    for index in stride(from: channel, to: count, by: channels) {
                        base[index] = table[Int(base[index])]
                    }
                }
            }
        }
    }
}
