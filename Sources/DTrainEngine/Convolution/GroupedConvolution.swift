internal import CKernels

/// Convolution in groups of few channels, as in ResNeXt's first stages: vectors hold the outputs of several groups, so that none
/// of their lanes is idle, and the image is read where it lies.
struct GroupedWeights: Sendable {
    let window: dt_window
    let channels: Int
    let groupSize: Int

    static func canCompute(_ geometry: ConvolutionGeometry) -> Bool {
        let window = geometry.window
        return [4, 8].contains(geometry.inputsPerGroup) && geometry.outputsPerGroup == geometry.inputsPerGroup
            && geometry.outputs % blockChannels == 0 && geometry.hasUnitStride && !geometry.isDilated
            && window.kernel_height == 3 && window.kernel_width == 3 && window.padding_height == 1
            && window.padding_width == 1
    }

    init(_ geometry: ConvolutionGeometry) {
        window = geometry.window
        channels = geometry.outputs
        groupSize = geometry.outputsPerGroup
    }

    static let blockChannels = 16
    var count: Int { channels * groupSize * window.kernel_height * window.kernel_width }

    /// Each thread packs a part of the channels.
    func pack(
        _ run: Run, _ weights: UnsafePointer<Float>, isTurned: Bool, into packed: UnsafeMutablePointer<Float>
    ) {
        let blocks = run.part(of: channels / Self.blockChannels)
        dt_grouped_pack(weights, groupSize, blocks.lowerBound, blocks.count, isTurned ? 1 : 0, packed)
    }

    func correlate(
        _ x: Pixels, _ packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?, lines: Range<Int>, into y: Pixels,
        accumulate: Bool
    ) {
        dt_grouped_forward(
            x, packed, bias, channels, groupSize, window, lines.lowerBound, lines.count, y, accumulate ? 1 : 0)
    }
}

struct GroupedForward: ForwardPass {
    /// Elements of an output block.
    private static let blockElements = 16 * 1024

    let takesBF16 = true
    let addsBias = true
    private let weights: GroupedWeights
    private let blockLines: Int

    init(_ geometry: ConvolutionGeometry) {
        weights = GroupedWeights(geometry)
        blockLines = max(1, Self.blockElements / (geometry.window.output_width * geometry.outputs))
    }

    var memory: PassMemory { PassMemory(shared: weights.count) }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        self.weights.pack(run, weights, isTurned: false, into: scratch.shared)
    }

    func forward(
        _ x: Elements, weights: UnsafePointer<Float>, bias: UnsafePointer<Float>?, into y: Elements, stride: Int,
        accumulate: Bool, lines: Range<Int>, scratch: PassScratch, finish: (_ lines: Range<Int>) -> Void
    ) {
        let (x, y) = (Pixels(elements: x, stride: self.weights.channels), Pixels(elements: y, stride: stride))
        lines.forEachBlock(of: blockLines) { block in
            self.weights.correlate(x, scratch.shared, bias: bias, lines: block, into: y, accumulate: accumulate)
            finish(block)
        }
    }
}

struct GroupedWeightGradient: WeightGradientPass {
    let takesBF16 = true
    private let weights: GroupedWeights

    init(_ geometry: ConvolutionGeometry) { weights = GroupedWeights(geometry) }

    /// The thread's sum.
    var memory: PassMemory { PassMemory(perThread: weights.count) }

    func begin(_ scratch: PassScratch) { scratch.own.update(repeating: 0, count: weights.count) }

    func add(_ x: Elements, _ dz: Elements, stride: Int, lines: Range<Int>, scratch: PassScratch) {
        dt_grouped_weight_gradient(
            Pixels(elements: x, stride: weights.channels), Pixels(elements: dz, stride: stride), weights.channels,
            weights.groupSize, weights.window, lines.lowerBound, lines.count, scratch.own)
    }

    func finish(
        _ run: Run, active: Int, into gradient: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: PassScratch
    ) {
        let blocks = run.part(of: weights.channels / GroupedWeights.blockChannels)
        for thread in 0..<active {
            dt_grouped_unpack(
                scratch.own(of: thread), weights.groupSize, blocks.lowerBound, blocks.count,
                accumulate || thread > 0 ? 1 : 0, gradient)
        }
    }
}

/// dX = dZ ⋆ W turned: the same geometry again.
struct GroupedInputGradient: InputGradientPass {
    let takesBF16 = true
    private let weights: GroupedWeights

    init(_ geometry: ConvolutionGeometry) { weights = GroupedWeights(geometry) }

    var memory: PassMemory { PassMemory(shared: weights.count) }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        self.weights.pack(run, weights, isTurned: true, into: scratch.shared)
    }

    func propagate(
        _ dz: Elements, stride: Int, weights: UnsafePointer<Float>, into dx: Elements, accumulate: Bool,
        lines: Range<Int>, scratch: PassScratch
    ) {
        self.weights.correlate(
            Pixels(elements: dz, stride: stride), scratch.shared, bias: nil, lines: lines,
            into: Pixels(elements: dx, stride: self.weights.channels), accumulate: accumulate)
    }
}
