internal import CKernels
package import DTrainTensor

/// The adjoint of a convolution (PyTorch's ConvTranspose2d): every input pixel adds its window times the kernel to the
/// output, plus a bias.
///
/// It is a convolution from the output's side: forward is that convolution's input gradient, the gradient of the input is
/// its forward pass, and the gradient of the weight is its own with the roles of image and gradient exchanged. The weight is
/// inputs × kernel height × kernel width × outputs / groups in the arena (PyTorch: inputs × outputs / groups × kernel).
package struct TransposedConvolution: Operation {
    package let outputs: Int
    package let geometry: WindowGeometry
    /// Lines and columns added at the bottom and on the right: a stride leaves open how large the output is.
    package let outputPadding: Pair
    package let groups: Int
    package let hasBias: Bool
    package let method: ConvolutionMethod

    package init(
        outputs: Int, geometry: WindowGeometry, outputPadding: Pair, groups: Int, hasBias: Bool,
        method: ConvolutionMethod = .ofModels
    ) {
        self.outputs = outputs
        self.geometry = geometry
        self.outputPadding = outputPadding
        self.groups = groups
        self.hasBias = hasBias
        self.method = method
    }

    package var name: String { "transposedConvolution" }
    package var backwardReads: BackwardReads { .inputs }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        let input = inputs[0]
        try input.requireImage("a transposed convolution")
        guard groups >= 1, outputs >= 1, input.imageChannels % groups == 0, outputs % groups == 0 else {
            throw ShapeMismatch(
                "\(groups) groups do not divide \(input.imageChannels) input and \(outputs) output channels")
        }
        return input.image(
            height: try extent("height", input.imageHeight, \.height),
            width: try extent("width", input.imageWidth, \.width), channels: outputs)
    }

    /// (extent − 1) · stride − 2 · padding + dilation · (kernel − 1) + output padding + 1.
    private func extent(_ name: String, _ size: Int, _ side: KeyPath<Pair, Int>) throws -> Int {
        let (kernel, stride) = (geometry.kernel[keyPath: side], geometry.stride[keyPath: side])
        let (padding, dilation) = (geometry.padding[keyPath: side], geometry.dilation[keyPath: side])
        let more = outputPadding[keyPath: side]
        guard kernel >= 1, stride >= 1, padding >= 0, dilation >= 1 else {
            throw ShapeMismatch(
                "kernel \(kernel), stride \(stride) and dilation \(dilation) must be at least 1 "
                    + "and padding \(padding) at least 0")
        }
        guard more >= 0, more < max(stride, dilation) else {
            throw ShapeMismatch(
                "output padding \(more) must be at least 0 and smaller than stride \(stride) or dilation \(dilation)")
        }
        let extent = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + more + 1
        guard extent >= 1 else {
            throw ShapeMismatch("an input of \(name) \(size) with padding \(padding) leaves no output (\(extent))")
        }
        return extent
    }

    package func multiplyAdds(inputs: [Shape], output: Shape) -> Int {
        inputs[0].count * geometry.kernel.height * geometry.kernel.width * outputs / groups
    }

    /// The convolution whose adjoint this is, from `output` to `input`.
    fileprivate func adjoint(input: Shape, output: Shape) -> ConvolutionGeometry {
        ConvolutionGeometry(
            Convolution(outputs: input.imageChannels, geometry: geometry, groups: groups, hasBias: false),
            input: output, output: input)
    }
    fileprivate func passes(_ extents: Extents) -> ConvolutionPasses {
        ConvolutionPasses(
            adjoint(input: extents.inputs[0], output: extents.output),
            PassSetting(method, hasBias: false, extents, needsGradients: true))
    }
    func multipliesBF16(_ extents: Extents) -> Bool {
        extents.precision == .bf16 && passes(extents).multiplyBF16
    }
    /// Floats from one thread's bias sums to the next one's.
    fileprivate var biasStride: Int { hasBias ? outputs.wholeLines : 0 }

    package func memory(_ extents: Extents) -> MemoryNeed {
        let passes = passes(extents)
        return MemoryNeed(
            forwardWorkspace: passes.inputGradient.memory.total(threads: extents.threads),
            backwardWorkspace: extents.threads * biasStride
                + passes.weightGradient.memory.total(threads: extents.threads)
                + passes.forward.memory.total(threads: extents.threads))
    }
    package func kernel(_ site: Site) -> any Kernel { TransposedConvolutionKernel(self, site) }
}

/// Threads share samples, or lines where there are fewer samples than threads; of the bias gradient, pixels. Each sums its weight
/// and bias gradients apart, and the sums are added in thread order.
private final class TransposedConvolutionKernel: Kernel {
    private let operation: TransposedConvolution
    private let site: Site
    private let passes: ConvolutionPasses
    private let biasStride: Int

    init(_ operation: TransposedConvolution, _ site: Site) {
        self.operation = operation
        self.site = site
        passes = operation.passes(site.extents)
        biasStride = operation.biasStride
        GEMM.prepare
    }

    func forward(_ run: Run) {
        let (input, output) = (site.inputs[0], site.output)
        let y = run.pointer(output)
        let weights = run.parameters + site.parameters[0].range.lowerBound
        let scratch = PassScratch(run.arena + site.forwardWorkspace, passes.inputGradient.memory, thread: run.thread)
        passes.inputGradient.prepare(run, weights: weights, scratch: scratch)
        run.meet()
        let height = output.shape.imageHeight
        let lines = run.lines(height: height, group: run.sharedGroup(passes.inputGradient.lineGroup, height: height))
        // A sample at a time, so that the bias finds it in the cache. Shared lines are one block: no part has more than a sample's.
        lines.forEachBlock(of: height) { lines in
            passes.inputGradient.propagate(
                Elements(run.pointer(input)), stride: input.pixelStride, weights: weights, into: Elements(y),
                accumulate: false, lines: lines, scratch: scratch)
            guard operation.hasBias else { return }
            let pixels = lines.scaled(by: output.shape.imageWidth)
            dt_bias_activation(
                y + pixels.lowerBound * output.pixelStride, pixels.count, output.channels, output.pixelStride,
                run.parameters + site.parameters[1].range.lowerBound, DT_IDENTITY, 0)
        }
    }

    func backward(_ run: Run) {
        let (x, input) = (run.pointer(site.inputs[0]), site.inputs[0])
        let (dy, outer) = (run.pointer(site.outputGradient!), site.outputGradient!)
        let weights = run.parameters + site.parameters[0].range.lowerBound
        let biasSums = run.arena + site.backwardWorkspace
        let afterBias = biasSums + run.threadCount * biasStride
        let weightScratch = PassScratch(afterBias, passes.weightGradient.memory, thread: run.thread)
        let height = input.shape.imageHeight

        if let gradient = site.inputGradients[0] {
            let scratch = PassScratch(
                afterBias + passes.weightGradient.memory.total(threads: run.threadCount), passes.forward.memory,
                thread: run.thread)
            passes.forward.prepare(run, weights: weights, scratch: scratch)
            run.meet()
            passes.forward.forward(
                Elements(dy), weights: weights, bias: nil, into: Elements(run.pointer(gradient.place)),
                stride: gradient.place.pixelStride, accumulate: gradient.accumulate,
                lines: run.lines(height: height, group: run.sharedGroup(passes.forward.lineGroup, height: height)),
                scratch: scratch
            ) { _ in }
        }

        let weightGradient = run.gradient(of: site.parameters[0])
        let biasGradient = operation.hasBias ? run.gradient(of: site.parameters[1]) : nil
        let group = run.sharedGroup(passes.weightGradient.lineGroup, height: height)
        let lines = run.lines(height: height, group: group)
        if weightGradient != nil, !lines.isEmpty {
            passes.weightGradient.begin(weightScratch)
            passes.weightGradient.add(
                Elements(dy), Elements(x), stride: input.pixelStride, lines: lines, scratch: weightScratch)
        }
        let pixelCount = run.rows * outer.pixels
        let pixels = run.part(of: pixelCount)
        if biasGradient != nil, !pixels.isEmpty {
            let sum = biasSums + run.thread * biasStride
            sum.update(repeating: 0, count: operation.outputs)
            // Without an activation nothing is read of the output.
            dt_bias_activation_backward(
                dy + pixels.lowerBound * outer.pixelStride, outer.pixelStride, run.pointer(site.output),
                site.output.pixelStride, pixels.count, outer.channels, sum, DT_IDENTITY, 0)
        }
        run.meet()
        if let weightGradient {
            passes.weightGradient.finish(
                run, active: run.threads(height: height, group: group), into: weightGradient,
                accumulate: site.parameters[0].accumulate, scratch: weightScratch)
        }
        if let biasGradient, run.thread == 0 {
            if !site.parameters[1].accumulate { biasGradient.update(repeating: 0, count: operation.outputs) }
            for thread in 0..<run.threads(for: pixelCount) {
                dt_add_to(biasGradient, biasSums + thread * biasStride, operation.outputs)
            }
        }
    }
}
