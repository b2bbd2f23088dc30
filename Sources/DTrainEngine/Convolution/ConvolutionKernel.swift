internal import CKernels
internal import DTrainTensor

/// A convolution in a plan: the three passes, and what is done to a block of images, outputs or gradients while it is in the
/// cache: bias and activation, or the batch-norms before and behind.
///
/// Threads share output lines, or samples, on the way forward and samples on the way back. Each sums its weight and bias gradients
/// apart and the sums are added in thread order, so that the same number of threads gives the same bits.
final class ConvolutionKernel: Kernel {
    private let operation: Convolution
    private let site: Site
    private let memory: ConvolutionMemory
    /// The batch-norm inside, where it measures the batch.
    private let batchNorm: BatchNormArithmetic?
    private var geometry: ConvolutionGeometry { memory.geometry }
    private var passes: ConvolutionPasses { memory.passes }

    init(_ operation: Convolution, _ site: Site) {
        self.operation = operation
        self.site = site
        let memory = ConvolutionMemory(operation, site.extents)
        self.memory = memory
        batchNorm = operation.measuredBatchNorm.map { BatchNormArithmetic($0, site) }
        GEMM.prepare
    }

    private func weights(_ run: Run) -> UnsafePointer<Float> {
        UnsafePointer(run.parameters + site.parameters[0].range.lowerBound)
    }
    private func bias(_ run: Run) -> UnsafePointer<Float>? {
        operation.hasBias ? UnsafePointer(run.parameters + site.parameters[1].range.lowerBound) : nil
    }
    /// What a measured batch-norm reads, all samples: the products and the bias. `workspace` is that of the pass.
    private func batchNormInput(_ run: Run, _ workspace: Int) -> Pixels {
        guard !operation.isDeferred else { return run.pixels(site.output) }
        let start = (memory.recomputes ? workspace : site.saved) + memory.batchNormInput
        return Pixels(elements: Elements(run.arena + start, memory.output), stride: operation.outputs)
    }
    /// This thread's output pixels, counted over all samples, where each is on its own.
    private func pixels(_ run: Run) -> Range<Int> { run.part(of: run.rows * geometry.outputPixels) }
    private var width: Int { geometry.window.output_width }
    /// The workspace in which the way back computes products again.
    private var recomputation: Int { site.backwardWorkspace + memory.recomputation }

    // MARK: Forward

    func forward(_ run: Run) {
        if let batchNorm {
            measure(run, batchNorm)
        } else if let folded = operation.batchNorm {
            normalize(run, folded)
        } else {
            let y = run.pixels(site.output)
            multiply(run, site.forwardWorkspace, into: y, operation.activation) { _, _ in }
        }
    }

    /// The products of this thread's part, the bias, and `activation`; `finish` is called for each block of pixels.
    private func multiply(
        _ run: Run, _ workspace: Int, into y: Pixels, _ activation: Activation,
        finish: (_ block: Pixels, _ count: Int) -> Void
    ) {
        let missingBias = passes.forward.addsBias ? nil : bias(run)
        correlate(run, workspace, bias: bias(run), into: y.elements, stride: y.stride) { lines in
            let (block, count) = (y.from(lines.lowerBound * width), lines.count * width)
            addBias(missingBias, block, pixels: count, activation)
            finish(block, count)
        }
    }

    /// y = f(y + bias).
    private func addBias(_ bias: UnsafePointer<Float>?, _ y: Pixels, pixels: Int, _ activation: Activation) {
        guard bias != nil || activation != .identity else { return }
        if y.elements.element == .bf16 {
            precondition(bias == nil, "a pass that writes bf16 adds the bias itself")
            dt_bf16_relu(y.elements.halves, pixels, operation.outputs, y.stride)
        } else {
            dt_bias_activation(
                y.elements.floats, pixels, operation.outputs, y.stride, bias, activation.kind, activation.slope)
        }
    }

    /// A batch-norm by running statistics, the residual and the activation.
    private func normalize(_ run: Run, _ batchNorm: BatchNorm) {
        let (y, stride) = (run.pointer(site.output), site.output.pixelStride)
        let scale = run.arena + site.forwardWorkspace + memory.foldedScaling + run.thread * 2 * memory.biasStride
        let shift = scale + memory.biasStride
        setScaling(run, batchNorm, scale, shift)
        let residual = operation.hasResidual ? UnsafePointer(run.pointer(site.inputs[1])) : nil
        correlate(run, site.forwardWorkspace, bias: nil, into: Elements(y), stride: stride) { lines in
            let first = lines.lowerBound * width
            dt_scale_shift_activation(
                y + first * stride, lines.count * width, operation.outputs, stride, scale, shift,
                residual.map { $0 + first * operation.outputs }, operation.activation.kind, operation.activation.slope)
        }
    }

    /// The batch-norm as a factor and a summand of each output channel, the convolution's bias included.
    private func setScaling(
        _ run: Run, _ batchNorm: BatchNorm, _ scale: UnsafeMutablePointer<Float>, _ shift: UnsafeMutablePointer<Float>
    ) {
        func parameter(_ index: Int) -> UnsafeMutablePointer<Float> {
            run.parameters + site.parameters[(operation.hasBias ? 2 : 1) + index].range.lowerBound
        }
        let bias = bias(run)
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

    /// The batch's statistics and, unless the reader does it, the normalisation by them.
    private func measure(_ run: Run, _ batchNorm: BatchNormArithmetic) {
        let z = batchNormInput(run, site.forwardWorkspace)
        batchNorm.beginMeasuring(run)
        multiply(run, site.forwardWorkspace, into: z, .identity) { block, count in
            batchNorm.measure(run, block, pixels: count)
        }
        run.meet()
        batchNorm.finishMeasuring(run)
        if operation.isDeferred { return }
        run.meet()
        batchNorm.normalize(run, z, pixels: pixels(run))
    }

    /// The products of this thread's part, in a workspace like that of the forward pass; `finish` is called for each block of output
    /// lines, counted over all samples.
    private func correlate(
        _ run: Run, _ workspace: Int, bias: UnsafePointer<Float>?, into y: Elements, stride: Int,
        finish: (_ lines: Range<Int>) -> Void
    ) {
        let scratch = PassScratch(run.arena + workspace, passes.forward.memory, thread: run.thread)
        passes.forward.prepare(run, weights: weights(run), scratch: scratch)
        run.meet()
        func correlate(
            _ x: Elements, into y: Elements, lines: Range<Int>, finish: (_ lines: Range<Int>) -> Void
        ) {
            passes.forward.forward(
                x, weights: weights(run), bias: bias, into: y, stride: stride, accumulate: false, lines: lines,
                scratch: scratch, finish: finish)
        }
        guard site.inputBatchNorm != nil else {
            return correlate(run.elements(site.inputs[0]), into: y, lines: lines(run), finish: finish)
        }
        let samples = run.part(of: run.rows)
        let images = run.arena + workspace + memory.forwardImages + run.thread * memory.forwardImageStride
        let height = geometry.window.output_height
        samples.forEachBlock(of: memory.forwardBlockSamples) { block in
            let firstLine = block.lowerBound * height
            correlate(
                image(run, block, normalizedInto: images), into: y + firstLine * width * stride,
                lines: 0..<block.count * height
            ) { lines in finish(firstLine + lines.lowerBound..<firstLine + lines.upperBound) }
        }
    }

    /// This thread's output lines, counted over all samples.
    private func lines(_ run: Run) -> Range<Int> {
        let (height, group) = (geometry.window.output_height, passes.forward.lineGroup)
        let groups = (height + group - 1) / group
        let part = run.part(of: run.rows * groups)
        func line(_ index: Int) -> Int { index / groups * height + index % groups * group }
        return line(part.lowerBound)..<line(part.upperBound)
    }

    /// The images of `samples`: where they lie, or normalised in `block`.
    private func image(
        _ run: Run, _ samples: Range<Int>, normalizedInto block: UnsafeMutablePointer<Float>
    ) -> Elements {
        let pixels = geometry.inputPixels
        let x = run.pixels(site.inputs[0]).from(samples.lowerBound * pixels)
        guard let batchNorm = site.inputBatchNorm else { return x.elements }
        let normalized = Pixels(elements: Elements(block, memory.input), stride: geometry.inputs)
        batchNorm.normalize(run, x, pixels: samples.count * pixels, into: normalized)
        return normalized.elements
    }

    // MARK: Backward

    func backward(_ run: Run) {
        if let batchNorm {
            let z = batchNormInput(run, recomputation)
            if memory.recomputes {
                multiply(run, recomputation, into: z, .identity) { _, _ in }
                run.meet()
            }
            batchNorm.formGradients(run, z, pixels: pixels(run))
        }
        let workspace = run.arena + site.backwardWorkspace
        let weightScratch = PassScratch(
            workspace + memory.weightGradientPass, passes.weightGradient.memory, thread: run.thread)
        let inputScratch = PassScratch(
            workspace + memory.inputGradientPass, passes.inputGradient.memory, thread: run.thread)
        let inputGradient = site.inputGradients[0]
        let weightGradient = run.gradient(of: site.parameters[0])
        let biasGradient = operation.hasBias ? run.gradient(of: site.parameters[1]) : nil
        if inputGradient != nil { passes.inputGradient.prepare(run, weights: weights(run), scratch: inputScratch) }
        if inputGradient != nil || batchNorm != nil { run.meet() }

        let biasSums = workspace + memory.biasSums
        let images = workspace + memory.backwardImages + run.thread * memory.backwardImageStride
        let samples = run.part(of: run.rows)
        if inputGradient != nil { site.inputBatchNorm?.beginSumming(run) }
        if !samples.isEmpty {
            let biasSum = biasGradient == nil ? nil : biasSums + run.thread * memory.biasStride
            biasSum?.update(repeating: 0, count: operation.outputs)
            if weightGradient != nil { passes.weightGradient.begin(weightScratch) }
            samples.forEachBlock(of: passes.blockSamples) { block in
                let (dz, stride) = productGradient(run, block, biasSum)
                if weightGradient != nil {
                    passes.weightGradient.add(
                        image(run, block, normalizedInto: images), dz, stride: stride, samples: 0..<block.count,
                        scratch: weightScratch)
                }
                if let inputGradient {
                    let dx = run.elements(inputGradient.place) + block.lowerBound * geometry.inputCount
                    passes.inputGradient.propagate(
                        dz, stride: stride, weights: weights(run), into: dx, accumulate: inputGradient.accumulate,
                        samples: 0..<block.count, scratch: inputScratch)
                    site.inputBatchNorm?.sumGradients(
                        run, Pixels(elements: dx, stride: geometry.inputs),
                        run.pixels(site.inputs[0]).from(block.lowerBound * geometry.inputPixels),
                        pixels: block.count * geometry.inputPixels)
                }
                // Last: where the residual is the image itself, its gradient adds to the one just written.
                if let batchNorm, operation.hasResidual, let residual = site.inputGradients[1] {
                    batchNorm.propagate(
                        run, batchNormInput(run, recomputation), pixels: block.scaled(by: geometry.outputPixels),
                        into: .none, residual: residual)
                }
            }
        }
        run.meet()
        let active = run.threads(for: run.rows)
        if let weightGradient {
            passes.weightGradient.finish(
                run, active: active, into: weightGradient, accumulate: site.parameters[0].accumulate,
                scratch: weightScratch)
        }
        if let biasGradient, run.thread == 0 {
            if !site.parameters[1].accumulate { biasGradient.update(repeating: 0, count: operation.outputs) }
            for thread in 0..<active {
                dt_add_to(biasGradient, biasSums + thread * memory.biasStride, operation.outputs)
            }
        }
    }

    /// The gradient of the samples' products: the output's, taken back through what follows them, in place or, with a
    /// batch-norm, in a block of its own. Adds its sum over the pixels to `biasSum`.
    private func productGradient(
        _ run: Run, _ samples: Range<Int>, _ biasSum: UnsafeMutablePointer<Float>?
    ) -> (dz: Elements, stride: Int) {
        let (pixels, outputs) = (samples.scaled(by: geometry.outputPixels), operation.outputs)
        guard let batchNorm else {
            let (output, gradient) = (site.output, site.outputGradient!)
            let dz = run.elements(gradient) + samples.lowerBound * gradient.sampleStride
            undo(
                operation.activation, dz, stride: gradient.pixelStride,
                output: run.elements(output) + samples.lowerBound * output.sampleStride,
                outputStride: output.pixelStride, pixels: pixels.count, biasSum)
            return (dz, gradient.pixelStride)
        }
        let block = run.arena + site.backwardWorkspace + memory.gradients + run.thread * memory.gradientStride
        let dz = Elements(block, memory.output)
        batchNorm.propagate(
            run, batchNormInput(run, recomputation), pixels: pixels, into: Pixels(elements: dz, stride: outputs))
        if biasSum != nil {
            undo(.identity, dz, stride: outputs, output: dz, outputStride: outputs, pixels: pixels.count, biasSum)
        }
        return (dz, outputs)
    }

    /// gradient *= f'(output), and adds its sum over the pixels to `biasSum`.
    private func undo(
        _ activation: Activation, _ gradient: Elements, stride: Int, output: Elements, outputStride: Int, pixels: Int,
        _ biasSum: UnsafeMutablePointer<Float>?
    ) {
        if gradient.element == .bf16 {
            dt_bf16_bias_relu_backward(
                gradient.halves, stride, output.halves, outputStride, pixels, operation.outputs, biasSum,
                activation == .relu ? 1 : 0)
        } else {
            dt_bias_activation_backward(
                gradient.floats, stride, output.floats, outputStride, pixels, operation.outputs, biasSum,
                activation.kind, activation.slope)
        }
    }
}
