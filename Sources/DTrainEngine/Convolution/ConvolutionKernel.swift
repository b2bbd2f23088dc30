internal import CKernels
internal import DTrainTensor

/// A convolution in a plan: the three passes, with bias and activation applied while a block is in the cache.
///
/// Threads share output lines on the way forward and samples on the way back. Each sums its weight and bias gradients
/// apart and the sums are added in thread order, so that the same number of threads gives the same bits.
final class ConvolutionKernel: Kernel {
    private let operation: Convolution
    private let site: Site
    private let geometry: ConvolutionGeometry
    private let passes: ConvolutionPasses
    /// Samples whose input and output gradient stay in the L2 cache together.
    private let blockSamples: Int
    /// Floats from one thread's bias sums to the next one's.
    private let biasStride: Int

    init(_ operation: Convolution, _ site: Site) {
        self.operation = operation
        self.site = site
        geometry = ConvolutionGeometry(operation, input: site.inputs[0].shape, output: site.output.shape)
        passes = ConvolutionPasses(geometry, operation.method)
        blockSamples = max(1, 64 * 1024 / (site.inputs[0].shape.count + site.output.shape.count))
        biasStride = Self.biasStride(operation)
        GEMM.prepare
    }

    private static func biasStride(_ operation: Convolution) -> Int { (operation.outputs + 15) / 16 * 16 }

    static func memory(_ operation: Convolution, _ extents: Extents) -> MemoryNeed {
        let passes = ConvolutionPasses(
            ConvolutionGeometry(operation, input: extents.inputs[0], output: extents.output), operation.method)
        let threads = extents.threads
        return MemoryNeed(
            forwardWorkspace: passes.forward.memory.total(threads: threads),
            backwardWorkspace: threads * biasStride(operation) + passes.weightGradient.memory.total(threads: threads)
                + passes.inputGradient.memory.total(threads: threads))
    }

    func forward(_ run: Run) {
        let (x, y, stride) = (run.pointer(site.inputs[0]), run.pointer(site.output), site.output.pixelStride)
        let weights = run.parameters + site.parameters[0].range.lowerBound
        let bias = operation.hasBias ? UnsafePointer(run.parameters + site.parameters[1].range.lowerBound) : nil
        let scratch = PassScratch(run.arena + site.forwardWorkspace, passes.forward.memory, thread: run.thread)
        passes.forward.prepare(run, weights: weights, scratch: scratch)
        run.meet()
        let width = geometry.window.output_width
        let missingBias = passes.forward.addsBias ? nil : bias
        passes.forward.forward(
            x, weights: weights, bias: bias, into: y, stride: stride, accumulate: false,
            lines: run.part(of: run.rows * geometry.window.output_height), scratch: scratch
        ) { lines in
            guard missingBias != nil || operation.activation != .identity else { return }
            dt_bias_activation(
                y + lines.lowerBound * width * stride, lines.count * width, operation.outputs, stride, missingBias,
                operation.activation.kind, operation.activation.slope)
        }
    }

    func backward(_ run: Run) {
        let x = run.pointer(site.inputs[0])
        let (dz, stride) = (run.pointer(site.outputGradient!), site.outputGradient!.pixelStride)
        let weights = run.parameters + site.parameters[0].range.lowerBound
        let biasSums = run.arena + site.backwardWorkspace
        let afterBias = biasSums + run.threadCount * biasStride
        let weightScratch = PassScratch(afterBias, passes.weightGradient.memory, thread: run.thread)
        let inputScratch = PassScratch(
            afterBias + passes.weightGradient.memory.total(threads: run.threadCount), passes.inputGradient.memory,
            thread: run.thread)
        let inputGradient = site.inputGradients[0]
        if inputGradient != nil {
            passes.inputGradient.prepare(run, weights: weights, scratch: inputScratch)
            run.meet()
        }

        let samples = run.part(of: run.rows)
        if !samples.isEmpty {
            let biasSum = operation.hasBias ? biasSums + run.thread * biasStride : nil
            biasSum?.update(repeating: 0, count: operation.outputs)
            passes.weightGradient.begin(weightScratch)
            var first = samples.lowerBound
            while first < samples.upperBound {
                let block = first..<min(first + blockSamples, samples.upperBound)
                undoActivation(run, block, biasSum)
                passes.weightGradient.add(x, dz, stride: stride, samples: block, scratch: weightScratch)
                if let inputGradient {
                    passes.inputGradient.propagate(
                        dz, stride: stride, weights: weights, into: run.pointer(inputGradient.place),
                        accumulate: inputGradient.accumulate, samples: block, scratch: inputScratch)
                }
                first = block.upperBound
            }
        }
        run.meet()
        let active = (0..<run.threadCount).reduce(0) { run.part(ofThread: $1, of: run.rows).isEmpty ? $0 : $0 + 1 }
        passes.weightGradient.finish(
            run, active: active, into: run.gradients + site.parameters[0].range.lowerBound,
            accumulate: site.parameters[0].accumulate, scratch: weightScratch)
        if operation.hasBias, run.thread == 0 { addBiasSums(run, biasSums, active: active) }
    }

    /// Turns the output's gradient into that of the sum before bias and activation, in place.
    private func undoActivation(_ run: Run, _ samples: Range<Int>, _ biasSum: UnsafeMutablePointer<Float>?) {
        let (output, gradient) = (site.output, site.outputGradient!)
        dt_bias_activation_backward(
            run.pointer(gradient) + samples.lowerBound * gradient.sampleStride, gradient.pixelStride,
            run.pointer(output) + samples.lowerBound * output.sampleStride, output.pixelStride,
            samples.count * geometry.outputPixels, operation.outputs, biasSum, operation.activation.kind,
            operation.activation.slope)
    }

    private func addBiasSums(_ run: Run, _ sums: UnsafeMutablePointer<Float>, active: Int) {
        let gradient = run.gradients + site.parameters[1].range.lowerBound
        if !site.parameters[1].accumulate { gradient.update(repeating: 0, count: operation.outputs) }
        for thread in 0..<active { dt_add_to(gradient, sums + thread * biasStride, operation.outputs) }
    }
}
