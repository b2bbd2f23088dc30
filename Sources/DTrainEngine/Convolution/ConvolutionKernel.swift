internal import CKernels
internal import DTrainTensor

/// A convolution in a plan: the three passes, with bias and activation applied while a block is in the cache.
///
/// Threads share output lines, or samples, on the way forward and samples on the way back. Each sums its weight and bias gradients
/// apart and the sums are added in thread order, so that the same number of threads gives the same bits.
final class ConvolutionKernel: Kernel {
    private let operation: Convolution
    private let site: Site
    private let geometry: ConvolutionGeometry
    private let passes: ConvolutionPasses
    /// Floats from one thread's bias sums to the next one's.
    private let biasStride: Int

    init(_ operation: Convolution, _ site: Site) {
        self.operation = operation
        self.site = site
        geometry = ConvolutionGeometry(operation, input: site.inputs[0].shape, output: site.output.shape)
        passes = Self.passes(operation, geometry, site.extents)
        biasStride = Self.biasStride(operation)
        GEMM.prepare
    }

    private static func passes(
        _ operation: Convolution, _ geometry: ConvolutionGeometry, _ extents: Extents
    ) -> ConvolutionPasses {
        // A batch-norm inside takes the bias into its shift.
        ConvolutionPasses(
            geometry,
            PassSetting(operation.method, hasBias: operation.hasBias && operation.batchNorm == nil, extents))
    }

    private static func biasStride(_ operation: Convolution) -> Int { (operation.outputs + 15) / 16 * 16 }

    static func memory(_ operation: Convolution, _ extents: Extents) -> MemoryNeed {
        let passes = passes(
            operation, ConvolutionGeometry(operation, input: extents.inputs[0], output: extents.output), extents)
        let threads = extents.threads
        return MemoryNeed(
            forwardWorkspace: passes.forward.memory.total(threads: threads)
                + (operation.batchNorm == nil ? 0 : threads * 2 * biasStride(operation)),
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
        let lines = part(run)
        if let batchNorm = operation.batchNorm {
            let scaling = run.arena + site.forwardWorkspace + passes.forward.memory.total(threads: run.threadCount)
            let scale = scaling + run.thread * 2 * biasStride, shift = scale + biasStride
            setScaling(run, batchNorm, bias: bias, scale, shift)
            let residual = operation.hasResidual ? UnsafePointer(run.pointer(site.inputs[1])) : nil
            return passes.forward.forward(
                x, weights: weights, bias: nil, into: y, stride: stride, accumulate: false,
                lines: lines, scratch: scratch
            ) { lines in
                let first = lines.lowerBound * width
                dt_scale_shift_activation(
                    y + first * stride, lines.count * width, operation.outputs, stride, scale, shift,
                    residual.map { $0 + first * operation.outputs }, operation.activation.kind,
                    operation.activation.slope)
            }
        }
        let missingBias = passes.forward.addsBias ? nil : bias
        passes.forward.forward(
            x, weights: weights, bias: bias, into: y, stride: stride, accumulate: false,
            lines: lines, scratch: scratch
        ) { lines in
            guard missingBias != nil || operation.activation != .identity else { return }
            dt_bias_activation(
                y + lines.lowerBound * width * stride, lines.count * width, operation.outputs, stride, missingBias,
                operation.activation.kind, operation.activation.slope)
        }
    }

    /// This thread's output lines, counted over all samples.
    private func part(_ run: Run) -> Range<Int> {
        let (height, group) = (geometry.window.output_height, passes.forward.lineGroup)
        let groups = (height + group - 1) / group
        let part = run.part(of: run.rows * groups)
        func line(_ index: Int) -> Int { index / groups * height + index % groups * group }
        return line(part.lowerBound)..<line(part.upperBound)
    }

    /// The batch-norm as a factor and a summand of each output channel, the convolution's bias included.
    private func setScaling(
        _ run: Run, _ batchNorm: BatchNorm, bias: UnsafePointer<Float>?, _ scale: UnsafeMutablePointer<Float>,
        _ shift: UnsafeMutablePointer<Float>
    ) {
        func parameter(_ index: Int) -> UnsafeMutablePointer<Float> {
            run.parameters + site.parameters[(operation.hasBias ? 2 : 1) + index].range.lowerBound
        }
        let (mean, variance) = (parameter(batchNorm.firstBuffer), parameter(batchNorm.firstBuffer + 1))
        let affine = batchNorm.isAffine ? (weight: parameter(0), bias: parameter(1)) : nil
        for channel in 0..<operation.outputs {
            let inverse = 1 / (Double(variance[channel]) + Double(batchNorm.epsilon)).squareRoot()
            let factor = Double(affine?.weight[channel] ?? 1) * inverse
            let centre = Double(mean[channel]) - Double(bias?[channel] ?? 0)
            scale[channel] = Float(factor)
            shift[channel] = Float(Double(affine?.bias[channel] ?? 0) - centre * factor)
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
        let weightGradient = run.gradient(of: site.parameters[0])
        let biasGradient = operation.hasBias ? run.gradient(of: site.parameters[1]) : nil
        if inputGradient != nil {
            passes.inputGradient.prepare(run, weights: weights, scratch: inputScratch)
            run.meet()
        }

        let samples = run.part(of: run.rows)
        if !samples.isEmpty {
            let biasSum = biasGradient == nil ? nil : biasSums + run.thread * biasStride
            biasSum?.update(repeating: 0, count: operation.outputs)
            if weightGradient != nil { passes.weightGradient.begin(weightScratch) }
            var first = samples.lowerBound
            while first < samples.upperBound {
                let block = first..<min(first + passes.blockSamples, samples.upperBound)
                undoActivation(run, block, biasSum)
                if weightGradient != nil {
                    passes.weightGradient.add(x, dz, stride: stride, samples: block, scratch: weightScratch)
                }
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
        if let weightGradient {
            passes.weightGradient.finish(
                run, active: active, into: weightGradient, accumulate: site.parameters[0].accumulate,
                scratch: weightScratch)
        }
        if let biasGradient, run.thread == 0 {
            if !site.parameters[1].accumulate { biasGradient.update(repeating: 0, count: operation.outputs) }
            for thread in 0..<active { dt_add_to(biasGradient, biasSums + thread * biasStride, operation.outputs) }
        }
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
}
