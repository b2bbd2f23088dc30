internal import CKernels
package import DTrainTensor

/// y = f(x · Wᵀ + b) (PyTorch's Linear): features, or the last extent of any shape, to `outputs`.
/// Weight outputs × inputs; one product for all rows, in fp32 or, in training, bf16.
package struct Linear: Operation, ActivationFusing {
    package let outputs: Int
    package let hasBias: Bool
    package var activation = Activation.identity

    package init(outputs: Int, hasBias: Bool) {
        self.outputs = outputs
        self.hasBias = hasBias
    }

    package var name: String { "linear" }
    package var sequences: SequenceUse { .rowwise }
    package var flattenedInput: FlattenedInput { .absorbed }
    package var backwardReads: BackwardReads { activation == .identity ? .inputs : [.inputs, .output] }

    package func fused(with activation: Activation) -> (any Operation)? {
        guard self.activation == .identity else { return nil }
        var fused = self
        fused.activation = activation
        return fused
    }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        guard inputs[0].rank >= 1, outputs >= 1 else { throw ShapeMismatch("a linear layer cannot read \(inputs[0])") }
        return Shape(inputs[0].dimensions.dropLast() + [outputs])
    }

    package func multiplyAdds(inputs: [Shape], output: Shape) -> Int { inputs[0].count * outputs }

    package func memory(_ extents: Extents) -> MemoryNeed {
        let scratch = extents.threads * product(extents).scratchCount
        return MemoryNeed(forwardWorkspace: scratch, backwardWorkspace: scratch)
    }

    package func kernel(_ site: Site) -> any Kernel { LinearKernel(self, site) }

    /// The way of its products.
    func product(_ extents: Extents) -> MatrixProduct {
        let inputs = extents.inputs[0].dimensions.last!
        return MatrixProduct(
            extents, inputs: inputs, outputs: outputs)
    }
}

private final class LinearKernel: Kernel {
    private let operation: Linear
    private let site: Site
    private let inputs: Int
    /// Matrix rows of one sample.
    private let rowsPerSample: Int
    /// Threads share outputs (each reads its part of the weights once) unless there are too few of them.
    private let splitsOutputs: Bool
    private let product: MatrixProduct

    init(_ operation: Linear, _ site: Site) {
        self.operation = operation
        self.site = site
        inputs = site.inputs[0].channels
        rowsPerSample = site.inputs[0].pixels
        splitsOutputs = operation.outputs >= 16 * site.extents.threads
        product = operation.product(site.extents)
        GEMM.prepare
    }

    func forward(_ run: Run) {
        let (x, y) = (run.pointer(site.inputs[0]), run.pointer(site.output))
        let weights = run.parameters + site.parameters[0].range.lowerBound
        let bias = operation.hasBias ? UnsafePointer(run.parameters + site.parameters[1].range.lowerBound) : nil
        let rows = run.rows(site.output) * rowsPerSample
        let outputs = operation.outputs
        let scratch = run.arena + site.forwardWorkspace + run.thread * product.scratchCount
        func part(_ rows: Range<Int>, _ columns: Range<Int>) {
            let block = y + rows.lowerBound * outputs + columns.lowerBound
            product.multiply(
                .no, .yes, m: rows.count, n: columns.count, k: inputs, a: x + rows.lowerBound * inputs, lda: inputs,
                b: weights + columns.lowerBound * inputs, ldb: inputs, accumulate: false, c: block, ldc: outputs,
                scratch: scratch)
            dt_bias_activation(
                block, rows.count, columns.count, outputs, bias.map { $0 + columns.lowerBound },
                operation.activation.kind, operation.activation.slope)
        }
        if splitsOutputs {
            part(0..<rows, run.part(of: outputs, granularity: 16))
        } else {
            part(run.part(of: rows), 0..<outputs)
        }
    }

    func backward(_ run: Run) {
        let (x, y) = (run.pointer(site.inputs[0]), run.pointer(site.output))
        let dy = run.pointer(site.outputGradient!)
        let weight = site.parameters[0]
        let outputs = operation.outputs
        let rows = run.rows(site.output) * rowsPerSample
        let columns = run.part(of: outputs, granularity: 16)
        let scratch = run.arena + site.backwardWorkspace + run.thread * product.scratchCount
        let gradient = dy + columns.lowerBound
        var biasGradient: UnsafeMutablePointer<Float>?
        if operation.hasBias, let start = run.gradient(of: site.parameters[1]) {
            biasGradient = start + columns.lowerBound
            if !site.parameters[1].accumulate { biasGradient!.update(repeating: 0, count: columns.count) }
        }
        dt_bias_activation_backward(
            gradient, outputs, y + columns.lowerBound, outputs, rows, columns.count, biasGradient,
            operation.activation.kind, operation.activation.slope)
        if let weightGradient = run.gradient(of: weight) {
            product.multiply(
                .yes, .no, m: columns.count, n: inputs, k: rows, a: gradient, lda: outputs, b: x, ldb: inputs,
                accumulate: weight.accumulate, c: weightGradient + columns.lowerBound * inputs, ldc: inputs,
                scratch: scratch)
        }

        guard let inputGradient = site.inputGradients[0] else { return }
        run.meet()
        let dx = run.pointer(inputGradient.place)
        let weights = run.parameters + weight.range.lowerBound
        let inputColumns = run.part(of: inputs, granularity: 16)
        product.multiply(
            .no, .no, m: rows, n: inputColumns.count, k: outputs, a: dy, lda: outputs,
            b: weights + inputColumns.lowerBound, ldb: inputs, accumulate: inputGradient.accumulate,
            c: dx + inputColumns.lowerBound, ldc: inputs, scratch: scratch)
    }
}
