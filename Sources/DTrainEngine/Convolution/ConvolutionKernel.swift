internal import CKernels
internal import DTrainTensor

/// A convolution in a plan: the three passes, and what is done to a block of images, outputs or gradients while it is in the
/// cache: bias and activation, or the batch-norms before and behind.
///
/// Threads share output lines on the way forward. On the way back, and where the input is made a block at a time, they share
/// samples, or lines where there are fewer samples than threads. Each sums its weight and bias gradients apart and the sums are
/// added in thread order, so that the same number of threads gives the same bits.
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

    /// The products of this thread's part, in a workspace like that of the forward pass; `finish` is called for each block of
    /// output lines, counted over all samples.
    private func correlate(
        _ run: Run, _ workspace: Int, bias: UnsafePointer<Float>?, into y: Elements, stride: Int,
        finish: (_ lines: Range<Int>) -> Void
    ) {
        let scratch = PassScratch(run.arena + workspace, passes.forward.memory, thread: run.thread)
        passes.forward.prepare(run, weights: weights(run), scratch: scratch)
        run.meet()
        let (inputHeight, height) = (geometry.window.height, geometry.window.output_height)
        func compute(_ x: Elements, sample: Int, lines: Range<Int>) {
            let firstLine = sample * height
            passes.forward.forward(
                x, weights: weights(run), bias: bias, into: y + firstLine * width * stride, stride: stride,
                accumulate: false, lines: lines, scratch: scratch
            ) { lines in finish(lines.shifted(by: firstLine)) }
        }
        let lines = run.lines(height: height, group: passes.forward.lineGroup)
        guard site.inputBatchNorm != nil else {
            return compute(run.elements(site.inputs[0]), sample: 0, lines: lines)
        }
        let images = block(run, workspace + memory.forwardImages, stride: memory.forwardImageStride)
        if run.sharesLines {
            let x = image(run, sample: 0, lines: run.lines(height: inputHeight, group: 1), normalizedInto: images)
            run.meet()
            return compute(x, sample: 0, lines: lines)
        }
        run.part(of: run.rows).forEachBlock(of: memory.forwardBlockSamples) { block in
            let x = image(run, sample: block.lowerBound, lines: 0..<block.count * inputHeight, normalizedInto: images)
            compute(x, sample: block.lowerBound, lines: 0..<block.count * height)
        }
    }

    /// This thread's block of some samples' values, or, where threads share lines, all threads' as one: each has room for a sample.
    private func block(_ run: Run, _ start: Int, stride: Int) -> UnsafeMutablePointer<Float> {
        run.arena + start + (run.sharesLines ? 0 : run.thread) * stride
    }

    /// The images from `sample` on: where they lie, or in `block`, in which `lines` of them are set, normalised.
    private func image(
        _ run: Run, sample: Int, lines: Range<Int>, normalizedInto block: UnsafeMutablePointer<Float>
    ) -> Elements {
        let x = run.pixels(site.inputs[0]).from(sample * geometry.inputPixels)
        guard let batchNorm = site.inputBatchNorm else { return x.elements }
        let normalized = Pixels(elements: Elements(block, memory.input), stride: geometry.inputs)
        let pixels = lines.scaled(by: geometry.window.width)
        batchNorm.normalize(
            run, x.from(pixels.lowerBound), pixels: pixels.count, into: normalized.from(pixels.lowerBound))
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
        let biasSum = biasGradient == nil ? nil : biasSums + run.thread * memory.biasStride
        let (height, group) = (geometry.window.output_height, passes.weightGradient.lineGroup)
        let active = run.threads(height: height, group: run.sharedGroup(group, height: height))
        if run.thread < active {
            biasSum?.update(repeating: 0, count: operation.outputs)
            if weightGradient != nil { passes.weightGradient.begin(weightScratch) }
        }
        if inputGradient != nil { site.inputBatchNorm?.beginSumming(run) }
        let images = block(run, site.backwardWorkspace + memory.backwardImages, stride: memory.backwardImageStride)
        forEachShare(run) { share in
            let (dz, stride) = productGradient(run, share, biasSum)
            let x =
                weightGradient == nil
                ? .none
                : image(run, sample: share.sample, lines: share.inputLines, normalizedInto: images)
            if run.sharesLines { run.meet() }
            if weightGradient != nil {
                passes.weightGradient.add(x, dz, stride: stride, lines: share.outputLines, scratch: weightScratch)
            }
            if let inputGradient {
                let first = share.sample * geometry.inputPixels
                let dx = run.elements(inputGradient.place) + first * geometry.inputs
                passes.inputGradient.propagate(
                    dz, stride: stride, weights: weights(run), into: dx, accumulate: inputGradient.accumulate,
                    lines: share.inputLines, scratch: inputScratch)
                let pixels = share.inputLines.scaled(by: geometry.window.width)
                site.inputBatchNorm?.sumGradients(
                    run, Pixels(elements: dx, stride: geometry.inputs).from(pixels.lowerBound),
                    run.pixels(site.inputs[0]).from(first + pixels.lowerBound), pixels: pixels.count)
            }
            // Last: where the residual is the image itself, its gradient adds to the one just written.
            if let batchNorm, operation.hasResidual, let residual = site.inputGradients[1] {
                if run.sharesLines { run.meet() }
                batchNorm.propagate(
                    run, batchNormInput(run, recomputation), pixels: outputPixels(share), into: .none,
                    residual: residual)
            }
        }
        run.meet()
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

    /// What a thread does of the way back at once: a block of its samples, or its lines of them all.
    private struct Share {
        let sample: Int
        /// Lines from the first one of `sample` on.
        let outputLines: Range<Int>
        let inputLines: Range<Int>
    }

    /// Where threads share lines, each calls `body` once, also with none: they meet in it.
    private func forEachShare(_ run: Run, _ body: (_ share: Share) -> Void) {
        let window = geometry.window
        if run.sharesLines {
            return body(
                Share(
                    sample: 0,
                    outputLines: run.lines(height: window.output_height, group: passes.weightGradient.lineGroup),
                    inputLines: run.lines(height: window.height, group: passes.inputGradient.lineGroup)))
        }
        run.part(of: run.rows).forEachBlock(of: passes.blockSamples) { samples in
            body(
                Share(
                    sample: samples.lowerBound, outputLines: 0..<samples.count * window.output_height,
                    inputLines: 0..<samples.count * window.height))
        }
    }

    /// The share's output pixels, counted over all samples.
    private func outputPixels(_ share: Share) -> Range<Int> {
        share.outputLines.scaled(by: width).shifted(by: share.sample * geometry.outputPixels)
    }

    /// The gradient of the products, from the share's first sample on and set in its lines: the output's, taken back through what
    /// follows them, in place or, with a batch-norm, in a block of its own. Adds its sum over the lines to `biasSum`.
    private func productGradient(
        _ run: Run, _ share: Share, _ biasSum: UnsafeMutablePointer<Float>?
    ) -> (dz: Elements, stride: Int) {
        let (pixels, outputs) = (outputPixels(share), operation.outputs)
        guard let batchNorm else {
            let dz = run.pixels(site.outputGradient!)
            undo(
                operation.activation, dz.from(pixels.lowerBound),
                output: run.pixels(site.output).from(pixels.lowerBound),
                pixels: pixels.count, biasSum)
            return (dz.from(share.sample * geometry.outputPixels).elements, dz.stride)
        }
        let block = block(run, site.backwardWorkspace + memory.gradients, stride: memory.gradientStride)
        let dz = Pixels(elements: Elements(block, memory.output), stride: outputs)
        let lines = dz.from(share.outputLines.lowerBound * width)
        batchNorm.propagate(run, batchNormInput(run, recomputation), pixels: pixels, into: lines)
        if biasSum != nil { undo(.identity, lines, output: lines, pixels: pixels.count, biasSum) }
        return (dz.elements, outputs)
    }

    /// gradient *= f'(output), and adds its sum over the pixels to `biasSum`.
    private func undo(
        _ activation: Activation, _ gradient: Pixels, output: Pixels, pixels: Int,
        _ biasSum: UnsafeMutablePointer<Float>?
    ) {
        if gradient.elements.element == .bf16 {
            dt_bf16_bias_relu_backward(
                gradient.elements.halves, gradient.stride, output.elements.halves, output.stride, pixels,
                operation.outputs, biasSum, activation == .relu ? 1 : 0)
        } else {
            dt_bias_activation_backward(
                gradient.elements.floats, gradient.stride, output.elements.floats, output.stride, pixels,
                operation.outputs, biasSum, activation.kind, activation.slope)
        }
    }
}
