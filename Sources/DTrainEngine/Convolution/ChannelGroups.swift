/// The groups of a convolution as products see them: narrow groups are merged until they fill a vector, as one group whose
/// weights are zero between what does not belong together. A multiply-add with zero in a full vector costs nothing more.
struct ChannelGroups: Sendable {
    /// Merged groups, and the channels of each.
    let count: Int
    let inputs: Int
    let outputs: Int
    /// Groups of the convolution in one, and the channels of each of those.
    private let merged: Int
    private let inputsPerGroup: Int
    private let outputsPerGroup: Int

    /// - Parameter isTurned: for the way back, inputs and outputs exchanged.
    init(_ geometry: ConvolutionGeometry, width: Int = 16, isTurned: Bool = false) {
        (inputsPerGroup, outputsPerGroup) = (geometry.inputsPerGroup, geometry.outputsPerGroup)
        let narrow = min(geometry.inputsPerGroup, geometry.outputsPerGroup)
        let groups = geometry.groups
        merged = (1...groups).first { groups % $0 == 0 && $0 * narrow >= width } ?? groups
        count = groups / merged
        let channels = (inputs: merged * inputsPerGroup, outputs: merged * outputsPerGroup)
        (inputs, outputs) = isTurned ? (channels.outputs, channels.inputs) : (channels.inputs, channels.outputs)
    }

    /// Floats of one merged group's weights.
    func weightCount(positions: Int) -> Int { inputs * outputs * positions }

    /// The weights of merged group `group`: outputs × positions × inputs, in place where nothing is merged.
    func weights(
        _ group: Int, of weights: UnsafePointer<Float>, positions: Int, copy: UnsafeMutablePointer<Float>
    ) -> UnsafePointer<Float> {
        let outputs = merged * outputsPerGroup
        let first = weights + group * outputs * positions * inputsPerGroup
        guard merged > 1 else { return first }
        let row = merged * inputsPerGroup
        copy.update(repeating: 0, count: weightCount(positions: positions))
        for output in 0..<outputs {
            for position in 0..<positions {
                let to = copy + (output * positions + position) * row + output / outputsPerGroup * inputsPerGroup
                to.update(from: first + (output * positions + position) * inputsPerGroup, count: inputsPerGroup)
            }
        }
        return UnsafePointer(copy)
    }

    /// Sets, or adds to, the gradient of one output (counted over all groups) from that of its merged group's weights,
    /// positions × inputs.
    func setGradient(
        ofOutput output: Int, from dense: UnsafePointer<Float>, positions: Int,
        into gradient: UnsafeMutablePointer<Float>, accumulate: Bool
    ) {
        let row = gradient + output * positions * inputsPerGroup
        let first = dense + output / outputsPerGroup % merged * inputsPerGroup
        for position in 0..<positions {
            for input in 0..<inputsPerGroup {
                let element = position * inputsPerGroup + input
                row[element] =
                    (accumulate ? row[element] : 0) + first[position * merged * inputsPerGroup + input]
            }
        }
    }

    /// Whether weights are used as they lie.
    var isPlain: Bool { merged == 1 }
}
