package import DTrainTensor

/// Cross-correlation of an image or a sequence with a set of kernels, plus a bias, through an activation.
///
/// Input height × width × channels; weight outputs × kernel height × kernel width × channels / groups in the arena
/// (PyTorch: outputs × channels / groups × kernel height × kernel width).
///
/// The batch-norm that follows, a residual (a second input) and the activation may be inside. In evaluation they are applied
/// while a block of the output is in the cache. In training the statistics are measured there, and on the way back the
/// gradient goes through the batch-norm a block at a time, just before the convolution's own gradients take it.
package struct Convolution: Operation, ActivationFusing, ResidualFusing, BatchNormDeferring {
    package let outputs: Int
    package let geometry: WindowGeometry
    package let groups: Int
    package let hasBias: Bool
    package let method: ConvolutionMethod
    package var activation = Activation.identity
    /// The batch-norm that follows; its parameters stand behind those of the convolution.
    package private(set) var batchNorm: BatchNorm?
    package private(set) var hasResidual = false
    /// Whether the output stays what it is before the batch-norm, for its only reader to normalise.
    private(set) var isDeferred = false
    /// Whether the input's normalisation was left to this convolution.
    package private(set) var normalizesInput = false

    package init(
        outputs: Int, geometry: WindowGeometry, groups: Int, hasBias: Bool, method: ConvolutionMethod = .ofModels
    ) {
        self.outputs = outputs
        self.geometry = geometry
        self.groups = groups
        self.hasBias = hasBias
        self.method = method
    }

    package var name: String { "convolution" }
    package var window: (kernel: Int, stride: Int) {
        (geometry.dilation.width * (geometry.kernel.width - 1) + 1, geometry.stride.width)
    }
    package var writesStridedPixels: Bool { true }
    // What it normalises becomes a dense block; its gradient goes to the batch-norm's own output.
    package func readsStridedPixels(input number: Int) -> Bool { number == 0 && normalizesInput }
    package var backwardReads: BackwardReads {
        // With a batch-norm the output tells where ReLU passed only after a residual; deferred, it is the batch-norm's input.
        let needsOutput = measuredBatchNorm.map { $0.isDeferred || $0.appliesReLU && $0.hasResidual }
        return needsOutput ?? (activation != .identity) ? [.inputs, .output] : .inputs
    }

    package func fused(with activation: Activation) -> (any Operation)? {
        guard self.activation == .identity, measuredBatchNorm == nil || activation == .relu else { return nil }
        var fused = self
        fused.activation = activation
        return fused
    }

    /// The convolution with the batch-norm inside, unless something else is.
    func folding(_ batchNorm: BatchNorm) -> Convolution? {
        guard activation == .identity, self.batchNorm == nil else { return nil }
        var fused = self
        fused.batchNorm = batchNorm
        return fused
    }

    package func fusedWithResidual() -> (any Operation)? {
        guard batchNorm != nil, activation == .identity, !hasResidual else { return nil }
        var fused = self
        fused.hasResidual = true
        return fused
    }

    package var measuredBatchNorm: BatchNormUse? {
        guard let batchNorm, !batchNorm.usesRunningStatistics else { return nil }
        return BatchNormUse(
            operation: batchNorm, firstParameter: hasBias ? 2 : 1, appliesReLU: activation == .relu,
            hasResidual: hasResidual, isDeferred: isDeferred)
    }

    func deferred() -> (any Operation)? {
        guard measuredBatchNorm != nil, !hasResidual else { return nil }
        var deferred = self
        deferred.isDeferred = true
        return deferred
    }

    func normalizingInput() -> Convolution {
        var reader = self
        reader.normalizesInput = true
        return reader
    }

    package func stepStatistics(_ inputs: [Shape]) -> Int {
        measuredBatchNorm == nil ? 0 : BatchNormStatistics.count(channels: outputs)
    }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        let input = inputs[0]
        try input.requireImage("a convolution")
        guard groups >= 1, input.imageChannels % groups == 0, outputs % groups == 0, outputs >= 1 else {
            throw ShapeMismatch(
                "\(groups) groups do not divide \(input.imageChannels) input and \(outputs) output channels")
        }
        let extents = try geometry.outputExtents((input.imageHeight, input.imageWidth))
        return input.image(height: extents.height, width: extents.width, channels: outputs)
    }

    package func multiplyAdds(inputs: [Shape], output: Shape) -> Int {
        output.count * geometry.kernel.height * geometry.kernel.width * inputs[0].imageChannels / groups
    }

    package func storedElements(_ extents: Extents) -> StoredElements {
        guard activation == .identity || activation == .relu else { return .fp32 }
        // Which passes there are may depend on what they write.
        var halves = extents
        (halves.inputElements, halves.outputElement) = (extents.inputs.map { _ in .bf16 }, .bf16)
        return [extents, halves].allSatisfy { ConvolutionMemory(self, $0).passes.takeBF16 } ? .converted : .fp32
    }

    package func memory(_ extents: Extents) -> MemoryNeed { ConvolutionMemory(self, extents).need }

    func multipliesBF16(_ extents: Extents) -> Bool {
        extents.precision == .bf16 && ConvolutionMemory(self, extents).passes.multiplyBF16
    }
    package func kernel(_ site: Site) -> any Kernel { ConvolutionKernel(self, site) }
}
