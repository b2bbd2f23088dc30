import DTrainTensor

/// Bytes to normalised fp32 by a table of 256 values a channel: the table stays in the first-level cache, and the
/// values are bit for bit those of the formula.
package struct Normaliser: Sendable {
    private let channels: Int
    private let memory: AlignedMemory
    private let table: MemorySlice<Float>

    package init(_ normalisation: Normalisation) {
        channels = normalisation.mean.count
        memory = AlignedMemory(byteCount: channels * 256 * MemoryLayout<Float>.stride)
        table = memory.slice()
        for channel in 0..<channels {
            for byte in 0...255 {
                table[channel * 256 + byte] = normalisation.value(of: UInt8(byte), channel: channel)
            }
        }
    }

    /// Mixes `bytes`, normalised, into as many floats: floats (1 − weight) + value × weight.
    func blend(_ bytes: MemorySlice<UInt8>, weight: Float, into floats: MemorySlice<Float>) {
        precondition(bytes.count == floats.count && bytes.count % channels == 0)
        let source = bytes.base, target = floats.base, table = table.base
        for first in stride(from: 0, to: bytes.count, by: channels) {
            for channel in 0..<channels {
                let value = table[channel * 256 + Int(source[first + channel])]
                target[first + channel] = (1 - weight) * target[first + channel] + weight * value
            }
        }
    }

    /// Normalises `bytes`, pixel × channel, into as many floats.
    package func apply(_ bytes: MemorySlice<UInt8>, into floats: MemorySlice<Float>) {
        precondition(bytes.count == floats.count && bytes.count % channels == 0)
        let source = bytes.base, target = floats.base, table = table.base
        switch channels {
        case 1:
            for index in 0..<bytes.count { target[index] = table[Int(source[index])] }
        case 3:
            for index in stride(from: 0, to: bytes.count, by: 3) {
                target[index] = table[Int(source[index])]
                target[index + 1] = table[256 + Int(source[index + 1])]
                target[index + 2] = table[512 + Int(source[index + 2])]
            }
        default:
            for index in stride(from: 0, to: bytes.count, by: channels) {
                for channel in 0..<channels {
                    target[index + channel] = table[channel * 256 + Int(source[index + channel])]
                }
            }
        }
    }
}
