import DTrainTensor

/// Starts a model from given weights (`--init FILE.safetensors`).
///
/// Fills `arenas` (the parameters; buffers have an arena of their own) from a safetensors file in PyTorch's names,
/// shapes and order. All names and shapes must match, or an error lists what is missing, unexpected or misshapen and
/// nothing is changed. F16 and BF16 are widened to F32.
public func loadWeights(_ path: String, into arenas: [NamedArena]) throws(CheckpointError) {
    let tensors = try SafetensorsFile(path).tensors()
    do {
        try NamedArena.fill(arenas, from: tensors)
    } catch {
        throw .mismatch(path: path, error)
    }
}
