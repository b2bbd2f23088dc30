import DTrainEngine
import DTrainTensor

/// A model with parameters and running statistics away from their first values, and what it returns for random samples.
struct FilledReplica {
    let replica: Replica
    private let samples: Int

    init(_ model: any Module, input: Shape, samples: Int = 2, threads: Int = 1) throws {
        self.samples = samples
        replica = try Replica(model, input: input, capacity: samples, pool: ThreadPool(threadCount: threads))
        replica.initialize(seed: 7)
        var random = SplitMix(state: 3)
        for segment in replica.layout.segments where segment.dtype == .float32 {
            let values = replica.parameters[segment.range]
            if segment.name.hasSuffix("running_var") {
                for index in 0..<values.count { values[index] = .random(in: 0.5...2, using: &random) }
            } else if segment.role == .buffer || values.array().allSatisfy({ $0 == values[0] }) {
                // Biases and means, which begin at zero, move less: over fifty layers they drown what tells samples apart.
                let most: Float = values[0] == 0 ? 0.05 : 0.3
                for index in 0..<values.count { values[index] += .random(in: -most...most, using: &random) }
            } else if segment.shape.rank > 1 {
                // The spread that keeps signals alive through ReLU (He et al. 2015, "Delving deep into rectifiers"): with
                // these statistics a network of smaller weights says the same of every sample.
                let inputs = segment.shape.dimensions.dropFirst().reduce(1, *)
                let meanSquare = values.array().reduce(0) { $0 + $1 * $1 } / Float(values.count)
                let factor = (2 / Float(inputs) / meanSquare).squareRoot()
                for index in 0..<values.count { values[index] *= factor }
            }
        }
    }

    var tensors: [NamedTensor] { replica.layout.tensors(from: replica.parameters) }

    /// Random samples in PyTorch's order, channels first, and the model's outputs for them.
    ///
    /// Each sample has more contrast than the one before: deep networks with random weights see all noise of one strength
    /// as the same, and what two outputs have in common would hide an error.
    func run() -> (input: NamedTensor, output: NamedTensor) {
        let shape = replica.inputShape
        let (channels, pixels) = (shape.dimensions.last!, shape.count / shape.dimensions.last!)
        let input = NamedTensor(
            name: "input", dtype: .float32, shape: Shape([samples, channels] + shape.dimensions.dropLast()))
        let inputs = AlignedMemory(byteCount: samples * shape.count * MemoryLayout<Float>.stride)
        let labels = AlignedMemory(byteCount: samples * MemoryLayout<Int32>.stride)
        let elements = inputs.slice(of: Float.self)[0..<samples * shape.count]
        var random = SplitMix(state: 11)
        for sample in 0..<samples {
            for channel in 0..<channels {
                for pixel in 0..<pixels {
                    let value = Float(1 + 2 * sample) * Float.random(in: -2...2, using: &random)
                    input.floats[(sample * channels + channel) * pixels + pixel] = value
                    elements[(sample * pixels + pixel) * channels + channel] = value
                }
            }
        }
        return withExtendedLifetime((inputs, labels)) {
            _ = replica.evaluate(Replica.Samples(inputs: elements, labels: labels.slice()[0..<samples]))
            return (
                input,
                NamedTensor(name: "output", shape: [samples, replica.outputCount], floats: replica.outputs.array())
            )
        }
    }
}

/// Numbers that are the same on every run (Steele et al. 2014).
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
