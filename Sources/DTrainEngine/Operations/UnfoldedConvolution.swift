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
    private static let blockFloats = 128 * 1024

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
        return (lines, isPointwise(operation) ? 0 : (lines * width * rowLength + 15) / 16 * 16)
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
        run.pool.forEachPart(of: run.rows * height) { part, thread in
            let columns = run.arena + site.forwardWorkspace + thread * columnCount
            forEachBlock(part) { line, lines in
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
        let sums = run.arena + site.backwardWorkspace + columnCount * run.pool.threadCount
        run.pool.forEachPart(of: run.rows) { samples, thread in
            backward(run, samples, thread, sums: thread == 0 ? nil : sums + (thread - 1) * (weightCount + operation.outputs))
        }
        addPartialSums(run, sums)
    }

    /// One thread's samples. `sums` is where its weight and bias gradients go; nil stands for the gradient arena itself.
    private func backward(_ run: Run, _ samples: Range<Int>, _ thread: Int, sums: UnsafeMutablePointer<Float>?) {
        let x = run.pointer(site.inputs[0])
        let y = run.pointer(site.output)
        let dy = run.pointer(site.outputGradient!)
        let (yStride, dyStride) = (site.output.pixelStride, site.outputGradient!.pixelStride)
        let channels = site.inputs[0].pixelStride
        let weights = run.parameters + site.parameters[0].range.lowerBound
        let weightGradient = sums ?? run.gradients + site.parameters[0].range.lowerBound
        let adds = sums == nil && site.parameters[0].accumulate
        let columns = run.arena + site.backwardWorkspace + thread * columnCount
        let (width, height) = (window.output_width, window.output_height)

        var biasGradient: UnsafeMutablePointer<Float>?
        if operation.hasBias {
            biasGradient = sums.map { $0 + weightCount } ?? run.gradients + site.parameters[1].range.lowerBound
            if !adds { biasGradient!.update(repeating: 0, count: operation.outputs) }
        }
        let inputGradient = site.inputGradients[0]
        let dx = inputGradient.map { run.pointer($0.place) }
        if let dx, !isPointwise, !inputGradient!.accumulate {
            let image = site.inputs[0].sampleStride
            (dx + samples.lowerBound * image).update(repeating: 0, count: samples.count * image)
        }

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
                    dt_fold_add(
                        columns, inputsPerGroup, window, line, lines, dx + group * inputsPerGroup, channels)
                }
            }
            beta = 1
        }
    }

    private func addPartialSums(_ run: Run, _ sums: UnsafeMutablePointer<Float>) {
        let pool = run.pool
        let active = (1..<max(pool.threadCount, 1)).prefix { !pool.part($0, of: run.rows).isEmpty }
        guard !active.isEmpty else { return }
        let stride = weightCount + operation.outputs
        let weightGradient = run.gradients + site.parameters[0].range.lowerBound
        pool.forEachPart(of: weightCount, granularity: 16) { part, _ in
            for thread in active {
                dt_add_to(weightGradient + part.lowerBound, sums + (thread - 1) * stride + part.lowerBound, part.count)
            }
        }
        guard operation.hasBias else { return }
        let biasGradient = run.gradients + site.parameters[1].range.lowerBound
        for thread in active { dt_add_to(biasGradient, sums + (thread - 1) * stride + weightCount, operation.outputs) }
    }
}
