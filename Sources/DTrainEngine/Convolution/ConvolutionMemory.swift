internal import DTrainTensor

/// How a convolution is computed at a place of a plan, and where its kernel keeps what it needs: offsets in floats from the
/// start of each of the three memories.
struct ConvolutionMemory: Sendable {
    let geometry: ConvolutionGeometry
    let passes: ConvolutionPasses
    let need: MemoryNeed

    /// Whether what a measured batch-norm reads is computed once more on the way back instead of being kept.
    let recomputes: Bool
    /// Saved: the memory of a measured batch-norm, then its input where it is kept and the output does not hold it.
    let batchNormInput: Int
    /// Forward: scratch memory of the pass, two vectors a thread (a folded batch-norm), a block of normalised images a thread (as below),
    /// the batch-norm's input where it is not kept.
    let foldedScaling: Int
    let forwardImages: Int
    /// Backward: bias sums of each thread, scratch memory of both passes, blocks of images and of gradients of each thread (one of
    /// all where they share lines), and the forward workspace once more where something is computed again.
    let biasSums = 0
    let weightGradientPass: Int
    let inputGradientPass: Int
    let backwardImages: Int
    let gradients: Int
    let recomputation: Int

    /// How images, and outputs with what becomes of them, lie in memory.
    let (input, output): (Element, Element)

    /// Floats from one thread's vector of outputs, or block, to the next one's.
    let biasStride: Int
    let forwardImageStride: Int
    let backwardImageStride: Int
    let gradientStride: Int
    /// Samples of a block that is normalised at once on the way forward.
    let forwardBlockSamples: Int

    /// The most inputs of a 1×1 kernel, for each byte of an output, whose products are computed again: so many multiply-adds for
    /// each byte that need not be kept. docs/architecture.md has what that is worth.
    private static let cheapInputs = 32

    init(_ operation: Convolution, _ extents: Extents) {
        geometry = ConvolutionGeometry(operation, input: extents.inputs[0], output: extents.output)
        // A batch-norm by running statistics takes the bias into its shift.
        let addsBias = operation.hasBias && (operation.batchNorm == nil || operation.measuredBatchNorm != nil)
        passes = ConvolutionPasses(
            geometry, PassSetting(operation.method, hasBias: addsBias, extents, needsGradients: extents.training))
        (input, output) = (extents.inputElements[0], extents.outputElement)
        let threads = extents.threads

        biasStride = operation.outputs.wholeLines
        forwardBlockSamples = min(passes.forwardBlockSamples, extents.samples)
        let blockSamples = min(passes.blockSamples, extents.samples)
        let isMeasured = operation.measuredBatchNorm != nil
        forwardImageStride =
            operation.normalizesInput ? input.floatCount(forwardBlockSamples * geometry.inputCount).wholeLines : 0
        backwardImageStride =
            operation.normalizesInput ? input.floatCount(blockSamples * geometry.inputCount).wholeLines : 0
        let outputCount = geometry.outputPixels * geometry.outputs
        gradientStride = isMeasured ? output.floatCount(blockSamples * outputCount).wholeLines : 0
        let batchNorm = BatchNormMemory(channels: operation.outputs, threads: threads)

        var need = MemoryNeed()
        func place(_ memory: WritableKeyPath<MemoryNeed, Int>, _ count: Int) -> Int {
            defer { need[keyPath: memory] += count.wholeLines }
            return need[keyPath: memory]
        }
        if isMeasured { need.saved = batchNorm.count }
        let hasOwnInput = isMeasured && !operation.isDeferred
        // Kernels of other forms may be slow for their number of products.
        recomputes =
            hasOwnInput && PointwiseBlocks.canCompute(geometry)
            && geometry.inputs <= Self.cheapInputs * output.byteCount
        let inputCount = hasOwnInput ? output.floatCount(extents.samples * outputCount) : 0
        _ = place(\.forwardWorkspace, passes.forward.memory.total(threads: threads))
        foldedScaling = place(
            \.forwardWorkspace, operation.batchNorm == nil || isMeasured ? 0 : threads * 2 * biasStride)
        forwardImages = place(\.forwardWorkspace, threads * forwardImageStride)
        batchNormInput = place(recomputes ? \.forwardWorkspace : \.saved, inputCount)
        _ = place(\.backwardWorkspace, threads * biasStride)
        weightGradientPass = place(\.backwardWorkspace, passes.weightGradient.memory.total(threads: threads))
        inputGradientPass = place(\.backwardWorkspace, passes.inputGradient.memory.total(threads: threads))
        backwardImages = place(\.backwardWorkspace, threads * backwardImageStride)
        gradients = place(\.backwardWorkspace, threads * gradientStride)
        recomputation = place(\.backwardWorkspace, recomputes ? need.forwardWorkspace : 0)
        self.need = need
    }
}
