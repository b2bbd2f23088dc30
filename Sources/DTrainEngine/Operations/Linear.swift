internal import CKernels
package import DTrainTensor

/// y = f(x · Wᵀ + b) (PyTorch's Linear): features, or the last extent of any shape, to `outputs`.
/// Weight outputs × inputs; one product for all rows.
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
    package func kernel(_ site: Site) -> any Kernel { LinearKernel(self, site) }
}

private final class LinearKernel: Kernel {
    private let operation: Linear
    private let site: Site
    private let inputs: Int
    /// Matrix rows of one sample.
    private let rowsPerSample: Int
    /// Threads share outputs (each reads its part of the weights once) unless there are too few of them.
    private let splitsOutputs: Bool

    init(_ operation: Linear, _ site: Site) {
        self.operation = operation
        self.site = site
        inputs = site.inputs[0].channels
        rowsPerSample = site.inputs[0].pixels
        splitsOutputs = operation.outputs >= 16 * site.extents.threads
        GEMM.prepare
    }

    func forward(_ run: Run) {
        let (x, y) = (run.pointer(site.inputs[0]), run.pointer(site.output))
        let weights = run.parameters + site.parameters[0].range.lowerBound
        let bias = operation.hasBias ? UnsafePointer(run.parameters + site.parameters[1].range.lowerBound) : nil
        let rows = run.rows(site.output) * rowsPerSample
        let outputs = operation.outputs
        func part(_ rows: Range<Int>, _ columns: Range<Int>) {
            let block = y + rows.lowerBound * outputs + columns.lowerBound
            GEMM.multiply(
                .no, .yes, m: rows.count, n: columns.count, k: inputs, a: x + rows.lowerBound * inputs, lda: inputs,
                b: weights + columns.lowerBound * inputs, ldb: inputs, beta: 0, c: block, ldc: outputs)
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
        let columns = run.part(of: outputs)
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
            GEMM.multiply(
                .yes, .no, m: columns.count, n: inputs, k: rows, a: gradient, lda: outputs, b: x, ldb: inputs,
                beta: weight.accumulate ? 1 : 0, c: weightGradient + columns.lowerBound * inputs, ldc: inputs)
        }

        guard let inputGradient = site.inputGradients[0] else { return }
        run.meet()
        let dx = run.pointer(inputGradient.place)
        let weights = run.parameters + weight.range.lowerBound
        let inputColumns = run.part(of: inputs, granularity: 16)
        GEMM.multiply(
            .no, .no, m: rows, n: inputColumns.count, k: outputs, a: dy, lda: outputs,
            b: weights + inputColumns.lowerBound, ldb: inputs, beta: inputGradient.accumulate ? 1 : 0,
            c: dx + inputColumns.lowerBound, ldc: inputs)
    }
}
