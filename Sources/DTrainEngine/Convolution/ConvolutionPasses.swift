internal import CKernels
internal import DTrainTensor

/// How the passes of a convolution are computed.
package enum ConvolutionMethod: Sendable {
    /// What is fastest for the geometry, chosen for each pass.
    case byRule
    /// Direct products, or those of small groups, wherever they can compute the pass, fast or not: the tests hold them against
    /// `unfolded`.
    case direct
    /// Minimal filtering wherever it can compute the pass, fast or not, and otherwise by ways of our own; for the tests.
    case winograd
    /// In bf16 the weight gradient as products of pairs wherever it can be computed so, fast or not, and the other passes in fp32
    /// by ways of our own; for the tests.
    case paired
    /// Unfolding and OpenBLAS, which can do everything.
    case unfolded
    /// oneDNN wherever it can compute the pass, fast or not; elsewhere, and in a build without it, by ways of our own but minimal
    /// filtering.
    case oneDNN

    /// That of the convolutions which are traced meanwhile: by rule, but where a test holds a whole model against its oracle in
    /// each way.
    @TaskLocal package static var ofModels = ConvolutionMethod.byRule
}

/// What the passes depend on beside the geometry.
struct PassSetting {
    let method: ConvolutionMethod
    let precision: Precision
    /// How images and outputs, and their gradients, lie in memory.
    let (input, output): (Element, Element)
    /// Whether the forward pass is given a bias.
    let hasBias: Bool
    /// Whether the plan trains. One that evaluates sums in the order of the definition: minimal filtering rounds up to half as
    /// much again, and predictions are compared with those of other programs.
    let isTraining: Bool
    /// Whether gradient passes may be asked for: by a plan that trains, and by a transposed convolution, whose output is one.
    /// Otherwise ways of our own stand in for them, which cost nothing to make.
    let needsGradients: Bool
    /// The most samples of a run, and the threads that share them.
    let samples: Int
    let threads: Int

    init(_ method: ConvolutionMethod, hasBias: Bool, _ extents: Extents, needsGradients: Bool) {
        self.method = method
        self.hasBias = hasBias
        precision = extents.precision
        (input, output) = (extents.inputElements[0], extents.outputElement)
        isTraining = extents.training
        self.needsGradients = needsGradients
        samples = extents.samples
        threads = extents.threads
    }
}

/// The three passes of one convolution.
struct ConvolutionPasses: Sendable {
    let forward: any ForwardPass
    let weightGradient: any WeightGradientPass
    let inputGradient: any InputGradientPass
    /// Samples whose two gradients are computed in turn: their input and output gradient stay in the L2 cache together.
    let blockSamples: Int
    /// The same on the way forward, where the input is made a block at a time.
    let forwardBlockSamples: Int

    init(_ geometry: ConvolutionGeometry, _ setting: PassSetting) {
        let own = Self.ownPasses(geometry, setting)
        let paired = Self.pairsWeightGradient(geometry, setting) ? PairedWeightGradient(geometry) : nil
        #if OneDNN
            forward = OneDNNForward(geometry, setting) ?? own.forward
            weightGradient = paired ?? OneDNNWeightGradient(geometry, setting) ?? own.weightGradient
            inputGradient = OneDNNInputGradient(geometry, setting) ?? own.inputGradient
        #else
            (forward, inputGradient) = (own.forward, own.inputGradient)
            weightGradient = paired ?? own.weightGradient
        #endif
        let inCache = 64 * 1024 / (geometry.inputCount + geometry.outputPixels * geometry.outputs)
        blockSamples = max(1, inCache, weightGradient.blockSamples, inputGradient.blockSamples)
        forwardBlockSamples = max(1, inCache, forward.blockSamples)
    }

    /// Whether images, outputs and their gradients may be bf16 elements.
    var takeBF16: Bool { forward.takesBF16 && weightGradient.takesBF16 && inputGradient.takesBF16 }
    /// Whether any of the products has bf16 factors.
    var multiplyBF16: Bool {
        forward.multipliesBF16 || weightGradient.multipliesBF16 || inputGradient.multipliesBF16
    }

    /// Whether the weight gradient is products of pairs: by rule for small images with many outputs, where oneDNN 2.6 drops from
    /// 160 to 80 GFLOP/s on a Zen 4; and with AMX for all 1×1 kernels of stride 1, where oneDNN is known to reach 50 to 110
    /// GFLOP/s (2.6) or 150 to 250 (3.2), and these products were not measured.
    private static func pairsWeightGradient(_ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Bool {
        guard PairedWeightGradient.canCompute(geometry, setting) else { return false }
        guard setting.method == .byRule else { return setting.method == .paired }
        if geometry.isPointwise && dt_bf16_processor() == DT_BF16_AMX { return true }
        return way(geometry, setting) != .winograd && geometry.outputPixels <= 256 && geometry.outputs >= 256
            && (geometry.outputs > geometry.inputs || !geometry.hasUnitStride)
    }

    private static func ownPasses(
        _ geometry: ConvolutionGeometry, _ setting: PassSetting
    ) -> (forward: any ForwardPass, weightGradient: any WeightGradientPass, inputGradient: any InputGradientPass) {
        let method = setting.method
        let generalInputGradient: any InputGradientPass =
            isInputGradientDirect(geometry, method) ? DirectInputGradient(geometry) : UnfoldedInputGradient(geometry)
        switch way(geometry, setting) {
        case .depthwise:
            return (
                DepthwiseForward(geometry), DepthwiseWeightGradient(geometry), DepthwiseInputGradient(geometry)
            )
        case .pointwise:
            return (
                PointwiseForward(geometry), PointwiseWeightGradient(geometry),
                PointwiseInputGradient(geometry)
            )
        case .grouped:
            return (GroupedForward(geometry), GroupedWeightGradient(geometry), GroupedInputGradient(geometry))
        case .winograd:
            return (
                WinogradForward(geometry, setting.precision),
                WinogradWeightGradient(geometry, setting.precision),
                turnsWinograd(geometry, setting)
                    ? WinogradInputGradient(geometry, setting.precision) : generalInputGradient
            )
        case .general where isDirect(geometry, method):
            return (DirectForward(geometry), DirectWeightGradient(geometry), generalInputGradient)
        case .general:
            return (UnfoldedForward(geometry), UnfoldedWeightGradient(geometry), generalInputGradient)
        }
    }

    /// Geometries with a way of their own, and the others.
    enum Way { case depthwise, pointwise, grouped, winograd, general }

    static func way(_ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Way {
        if setting.method == .unfolded { return .general }
        if geometry.isDepthwise { return .depthwise }
        if PointwiseBlocks.canCompute(geometry) { return .pointwise }
        if isGrouped(geometry, setting) { return .grouped }
        return isWinograd(geometry, setting) ? .winograd : .general
    }

    /// The sums of small groups fill the registers that AVX-512 has, two vectors of which are a panel; with fewer nothing was
    /// measured.
    private static func isGrouped(_ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Bool {
        guard GroupedWeights.canCompute(geometry) else { return false }
        return setting.method == .direct
            || [.byRule, .oneDNN].contains(setting.method) && dt_tile_panel() == 2 * GroupedWeights.blockChannels
    }

    /// Minimal filtering has the fewest multiply-adds; with few channels the transforms cost more than they save.
    private static func isWinograd(_ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Bool {
        guard WinogradTiles.canCompute(geometry.window) else { return false }
        return setting.method == .winograd
            || setting.method == .byRule && setting.isTraining && min(geometry.inputs, geometry.outputs) >= 16
    }

    /// Whether minimal filtering serves the input gradient, too: not where the outputs are few and do not fill vectors.
    static func turnsWinograd(_ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Bool {
        geometry.canTurn
            && (setting.method == .winograd || geometry.outputs >= 32
                || geometry.outputs % Int(DT_WINOGRAD_LANES) == 0)
    }

    /// Direct products read the image where it lies and beat unfolding wherever a panel of the weights stays in the L2
    /// cache.
    private static func isDirect(_ geometry: ConvolutionGeometry, _ method: ConvolutionMethod) -> Bool {
        guard geometry.groups == 1, method != .unfolded else { return false }
        return method == .direct || DirectCorrelation.fits(rowLength: geometry.rowLength)
    }

    /// The input gradient is direct where the output is not much smaller than the input: or much of it would be products with
    /// padding.
    private static func isInputGradientDirect(_ geometry: ConvolutionGeometry, _ method: ConvolutionMethod) -> Bool {
        let window = geometry.window
        guard geometry.groups == 1, method != .unfolded, geometry.hasUnitStride, !geometry.isDilated, geometry.canTurn
        else { return false }
        return method == .direct
            || 2 * window.height * window.width <= 3 * geometry.outputPixels
                && DirectCorrelation.fits(rowLength: window.kernel_height * window.kernel_width * geometry.outputs)
    }
}

extension Convolution {
    /// The passes of a plan, and how images and gradients lie in memory: in bf16 where all passes take that.
    func passes(
        input: Shape, samples: Int, threads: Int = 1, precision: Precision, trains: Bool = true
    ) throws -> (passes: ConvolutionPasses, element: Element) {
        let output = try outputShape([input])
        func passes(_ element: Element) -> ConvolutionPasses {
            let extents = Extents(
                inputs: [input], output: output, samples: samples, rows: samples, longest: 1, threads: threads,
                training: trains, precision: precision, inputElements: [element], outputElement: element)
            return ConvolutionPasses(
                ConvolutionGeometry(self, input: input, output: output),
                PassSetting(method, hasBias: false, extents, needsGradients: trains))
        }
        if precision == .bf16 {
            let halves = passes(.bf16)
            if halves.takeBF16 { return (halves, .bf16) }
        }
        return (passes(.fp32), .fp32)
    }
}
