import DTrainTensor

/// Which weights of a checkpoint are meant where it holds two kinds.
public enum WeightsChoice: String, Hashable, Sendable, CaseIterable {
    /// The parameters as training left them: `model.safetensors`.
    case training
    /// Their moving average (`train --ema`): `*.average` in `optimizer.safetensors`. What is not averaged, frozen
    /// parameters and buffers, is that of training.
    case averaged
}

extension Checkpoint {
    /// The model's tensors, in PyTorch's names, shapes and order.
    ///
    /// - Parameter choice: nil takes the averaged weights where the run kept an average, as its evaluations did.
    /// - Throws: `noAverage` where averaged weights are asked for and there are none.
    public func modelTensors(_ choice: WeightsChoice? = nil) throws(CheckpointError) -> [NamedTensor] {
        let tensors = try SafetensorsFile(modelPath).tensors()
        guard choice != .training else { return tensors }
        let state = try SafetensorsFile(optimizerPath)
        let suffix = "." + NamedArena.averageName
        guard tensors.contains(where: { state.shape(of: $0.name + suffix) != nil }) else {
            guard choice == nil else { throw .noAverage(path: path) }
            return tensors
        }
        var averaged: [NamedTensor] = []
        for tensor in tensors {
            guard state.shape(of: tensor.name + suffix) != nil else {
                averaged.append(tensor)
                continue
            }
            var average = try state.tensor(tensor.name + suffix)
            average.name = tensor.name
            averaged.append(average)
        }
        return averaged
    }

    /// Fills `arenas` with the model's parameters and buffers; all names and shapes must match.
    public func loadModel(into arenas: [NamedArena], _ choice: WeightsChoice?) throws(CheckpointError) {
        let tensors = try modelTensors(choice)
        do { try NamedArena.fill(arenas, from: tensors) } catch { throw .mismatch(path: modelPath, error) }
    }
}
