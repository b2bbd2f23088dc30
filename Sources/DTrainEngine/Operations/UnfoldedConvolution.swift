internal import CKernels
internal import DTrainTensor

/// Convolution as matrix products over OpenBLAS: the provider that works on every processor.
///
/// Windows are unfolded into rows a block of output lines at a time, so that a block stays in the L2 cache; a 1×1
/// convolution of stride 1 multiplies the image where it lies. With K = kernel height × kernel width × channels / groups:
///
///     forward            Y[pixels × O]  = rows[pixels × K] · Wᵀ,  then bias and activation while the block is warm
///     weight gradient    dW[O × K]     += dZᵀ · rows
///     input gradient     rows          = dZ · W,  folded back onto dX
///
/// Threads share the batch by samples. Each sums its weight gradient apart and the sums are added in thread order, so
/// that the same number of threads gives the same bits.
final class UnfoldedConvolution: Kernel {
    private let operation: Convolution
    private let site: Site
    private let window: dt_window
    private let isPointwise: Bool
    /// Output lines in a block.
    private let blockLines: Int
    private let inputsPerGroup: Int
    private let outputsPerGroup: Int
    private let rowLength: Int
    private let columnCount: Int
    private let weightCount: Int

    /// Floats of unfolded rows that a block may take: half of a 1 MiB L2 cache.
    private static let blockFloats = 32 * 1024

    init(_ operation: Convolution, _ site: Site) {
        self.operation = operation
        self.site = site
        let shape = Self.blockShape(operation, site.extents)
        window = operation.geometry.cWindow(input: site.inputs[0].shape, output: site.output.shape)
        isPointwise = Self.isPointwise(operation)
        blockLines = shape.lines
        columnCount = shape.floats
        inputsPerGroup = site.inputs[0].shape.imageChannels / operation.groups
        outputsPerGroup = operation.outputs / operation.groups
        rowLength = operation.geometry.kernel.height * operation.geometry.kernel.width * inputsPerGroup
        weightCount = operation.outputs * rowLength
        GEMM.prepare
    }

    private static func isPointwise(_ operation: Convolution) -> Bool {
        operation.geometry == WindowGeometry(kernel: 1) && operation.groups == 1
    }

    private static func blockShape(_ operation: Convolution, _ extents: Extents) -> (lines: Int, floats: Int) {
        let kernel = operation.geometry.kernel
        let rowLength = kernel.height * kernel.width * extents.inputs[0].imageChannels / operation.groups
        let width = extents.output.imageWidth
        let lines = max(1, min(1024, blockFloats / rowLength) / width)
        return (lines, isPointwise(operation) ? 0 : (lines * width * rowLength + Int(DT_UNFOLD_SLACK) + 15) / 16 * 16)
    }

    static func memory(_ operation: Convolution, _ extents: Extents) -> MemoryNeed {
        let columns = blockShape(operation, extents).floats * extents.threads
        let weights = operation.outputs * operation.geometry.kernel.height * operation.geometry.kernel.width
            * extents.inputs[0].imageChannels / operation.groups
        let partialSums = extents.training ? (extents.threads - 1) * (weights + operation.outputs) : 0
        return MemoryNeed(forwardWorkspace: columns, backwardWorkspace: columns + partialSums)
    }

    /// Calls `body` for each block of the output lines `lines`.
    private func forEachBlock(_ lines: Range<Int>, _ body: (_ firstLine: Int, _ lines: Int) -> Void) {
        var line = lines.lowerBound
        while line < lines.upperBound {
            let count = min(blockLines, lines.upperBound - line)
            body(line, count)
            line += count
        }
    }

    func forward(_ run: Run) {
        let x = run.pointer(site.inputs[0])
        let y = run.pointer(site.output)
        let stride = site.output.pixelStride
        let weights = run.parameters + site.parameters[0].range.lowerBound
        let bias = operation.hasBias ? UnsafePointer(run.parameters + site.parameters[1].range.lowerBound) : nil
        let width = window.output_width
        let height = window.output_height
        let columns = run.arena + site.forwardWorkspace + run.thread * columnCount
        forEachBlock(run.part(of: run.rows * height)) { line, lines in
            let pixels = lines * width
            let output = y + line * width * stride
            for group in 0..<operation.groups {
                let rows = unfold(x, group: group, line: line, lines: lines, into: columns)
                GEMM.multiply(
                    .no, .yes, m: pixels, n: outputsPerGroup, k: rowLength, a: rows, lda: rowLength,
                    b: weights + group * outputsPerGroup * rowLength, ldb: rowLength, beta: 0,
                    c: output + group * outputsPerGroup, ldc: stride)
            }
            if bias != nil || operation.activation != .identity {
                dt_bias_activation(
                    output, pixels, operation.outputs, stride, bias, operation.activation.kind, operation.activation.slope)
            }
        }
    }

    /// The unfolded rows of a block; for a 1×1 convolution the input itself.
    private func unfold(
        _ x: UnsafeMutablePointer<Float>, group: Int, line: Int, lines: Int, into columns: UnsafeMutablePointer<Float>
    ) -> UnsafeMutablePointer<Float> {
        let channels = site.inputs[0].pixelStride
        if isPointwise { return x + line * window.width * channels }
        dt_unfold(x + group * inputsPerGroup, channels, inputsPerGroup, window, line, lines, columns)
        return columns
    }

    func backward(_ run: Run) {
        let sums = run.arena + site.backwardWorkspace + columnCount * run.threadCount
        let samples = run.part(of: run.rows)
        if !samples.isEmpty {
            let partialSums = sums + (run.thread - 1) * (weightCount + operation.outputs)
            backward(run, samples, sums: run.thread == 0 ? nil : partialSums)
        }
        guard run.threadCount > 1 else { return }
        run.meet()
        addPartialSums(run, sums)
    }

    /// One thread's samples. `sums` is where its weight and bias gradients go; nil stands for the gradient arena itself.
    private func backward(_ run: Run, _ samples: Range<Int>, sums: UnsafeMutablePointer<Float>?) {
        let x = run.pointer(site.inputs[0])
        let y = run.pointer(site.output)
        let dy = run.pointer(site.outputGradient!)
        let (yStride, dyStride) = (site.output.pixelStride, site.outputGradient!.pixelStride)
        let channels = site.inputs[0].pixelStride
        let weights = run.parameters + site.parameters[0].range.lowerBound
        let weightGradient = sums ?? run.gradients + site.parameters[0].range.lowerBound
        let adds = sums == nil && site.parameters[0].accumulate
        let columns = run.arena + site.backwardWorkspace + run.thread * columnCount
        let (width, height) = (window.output_width, window.output_height)

        var biasGradient: UnsafeMutablePointer<Float>?
        if operation.hasBias {
            biasGradient = sums.map { $0 + weightCount } ?? run.gradients + site.parameters[1].range.lowerBound
            if !adds { biasGradient!.update(repeating: 0, count: operation.outputs) }
        }
        let inputGradient = site.inputGradients[0]
        let dx = inputGradient.map { run.pointer($0.place) }
        let image = site.inputs[0].sampleStride
        /// Samples whose input gradient is ready to be added to. They are zeroed just before, while the cache is theirs.
        var prepared = dx == nil || isPointwise || inputGradient!.accumulate ? samples.upperBound : samples.lowerBound
        var beta: Float = adds ? 1 : 0
        forEachBlock(samples.lowerBound * height..<samples.upperBound * height) { line, lines in
            let pixels = lines * width
            let gradient = dy + line * width * dyStride
            dt_bias_activation_backward(
                gradient, dyStride, y + line * width * yStride, yStride, pixels, operation.outputs, biasGradient,
                operation.activation.kind, operation.activation.slope)
            for group in 0..<operation.groups {
                let groupGradient = gradient + group * outputsPerGroup
                let groupWeights = group * outputsPerGroup * rowLength
                let rows = unfold(x, group: group, line: line, lines: lines, into: columns)
                GEMM.multiply(
                    .yes, .no, m: outputsPerGroup, n: rowLength, k: pixels, a: groupGradient, lda: dyStride, b: rows,
                    ldb: rowLength, beta: beta, c: weightGradient + groupWeights, ldc: rowLength)
                guard let dx else { continue }
                let target = isPointwise ? dx + line * width * channels : columns
                GEMM.multiply(
                    .no, .no, m: pixels, n: rowLength, k: outputsPerGroup, a: groupGradient, lda: dyStride,
                    b: weights + groupWeights, ldb: rowLength, beta: isPointwise && inputGradient!.accumulate ? 1 : 0,
                    c: target, ldc: rowLength)
                if !isPointwise {
                    let needed = (line + lines - 1) / height + 1
                    if prepared < needed {
                        (dx + prepared * image).update(repeating: 0, count: (needed - prepared) * image)
                        prepared = needed
                    }
                    dt_fold_add(
                        columns, inputsPerGroup, window, line, lines, dx + group * inputsPerGroup, channels)
                }
            }
            beta = 1
        }
    }

    /// Adds the sums of the threads that had samples to those of the first, each thread for its part of the weights.
    private func addPartialSums(_ run: Run, _ sums: UnsafeMutablePointer<Float>) {
        let stride = weightCount + operation.outputs
        let part = run.part(of: weightCount, granularity: 16)
        let weightGradient = run.gradients + site.parameters[0].range.lowerBound + part.lowerBound
        for thread in 1..<run.threadCount where !run.part(ofThread: thread, of: run.rows).isEmpty {
            let partialSums = sums + (thread - 1) * stride
            dt_add_to(weightGradient, partialSums + part.lowerBound, part.count)
            if operation.hasBias, run.thread == 0 {
                dt_add_to(
                    run.gradients + site.parameters[1].range.lowerBound, partialSums + weightCount, operation.outputs)
            }
        }
    }
}
