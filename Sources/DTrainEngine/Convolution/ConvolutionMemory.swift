internal import DTrainTensor

/// How a convolution is computed at a place of a plan, and where its kernel keeps what it needs: offsets in floats from the
/// start of each of the three memories.
struct ConvolutionMemory: Sendable {
    let geometry: ConvolutionGeometry
    let passes: ConvolutionPasses
    let need: MemoryNeed

    /// Saved: the memory of a measured batch-norm, then its input where the output does not hold it.
    let batchNormInput: Int
    /// Forward: scratch memory of the pass, two vectors a thread (a folded batch-norm), a block of normalised images a thread.
    let forwardPass = 0
    let foldedScaling: Int
    let forwardImages: Int
    /// Backward: bias sums of each thread, scratch memory of both passes, blocks of images and of gradients of each thread.
    let biasSums = 0
    let weightGradientPass: Int
    let inputGradientPass: Int
    let backwardImages: Int
    let gradients: Int

    /// How images, and outputs with what becomes of them, lie in memory.
    let (input, output): (Element, Element)

    /// Floats from one thread's vector of outputs, or block, to the next one's.
    let biasStride: Int
    let forwardImageStride: Int
    let backwardImageStride: Int
    let gradientStride: Int
    /// Samples of a block that is normalised at once on the way forward.
    let forwardBlockSamples: Int

    init(_ operation: Convolution, _ extents: Extents) {
        geometry = ConvolutionGeometry(operation, input: extents.inputs[0], output: extents.output)
        // A batch-norm by running statistics takes the bias into its shift.
        let addsBias = operation.hasBias && (operation.batchNorm == nil || operation.measuredBatchNorm != nil)
        passes = ConvolutionPasses(geometry, PassSetting(operation.method, hasBias: addsBias, extents))
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
        batchNormInput = place(
            \.saved,
            isMeasured && !operation.isDeferred ? output.floatCount(extents.samples * outputCount) : 0)
        _ = place(\.forwardWorkspace, passes.forward.memory.total(threads: threads))
        foldedScaling = place(
            \.forwardWorkspace, operation.batchNorm == nil || isMeasured ? 0 : threads * 2 * biasStride)
        forwardImages = place(\.forwardWorkspace, threads * forwardImageStride)
        _ = place(\.backwardWorkspace, threads * biasStride)
        weightGradientPass = place(\.backwardWorkspace, passes.weightGradient.memory.total(threads: threads))
        inputGradientPass = place(\.backwardWorkspace, passes.inputGradient.memory.total(threads: threads))
        backwardImages = place(\.backwardWorkspace, threads * backwardImageStride)
        gradients = place(\.backwardWorkspace, threads * gradientStride)
        self.need = need
    }
}
