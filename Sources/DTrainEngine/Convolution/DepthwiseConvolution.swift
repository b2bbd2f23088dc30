internal import CKernels

/// Convolution of each channel with a kernel of its own: no product of matrices is left, so vectors hold channels and the
/// image is read where it lies. Weights are turned from channel × window element to window element × channel.
private struct DepthwiseWeights: Sendable {
    let window: dt_window
    let channels: Int

    init(_ geometry: ConvolutionGeometry) {
        window = geometry.window
        channels = geometry.inputs
    }

    var elements: Int { window.kernel_height * window.kernel_width }
    var count: Int { elements * channels }

    /// Each thread turns a part of the channels.
    func pack(_ run: Run, _ weights: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>) {
        for channel in run.part(of: channels, granularity: 16) {
            for element in 0..<elements { packed[element * channels + channel] = weights[channel * elements + element] }
        }
    }
}

struct DepthwiseForward: ForwardPass {
    /// Floats of an output block.
    private static let blockFloats = 16 * 1024

    let addsBias = true
    private let weights: DepthwiseWeights
    private let blockLines: Int

    init(_ geometry: ConvolutionGeometry) {
        weights = DepthwiseWeights(geometry)
        blockLines = max(1, Self.blockFloats / (geometry.window.output_width * geometry.outputs))
    }

    var memory: PassMemory { PassMemory(shared: weights.count) }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        self.weights.pack(run, weights, into: scratch.shared)
    }

    func forward(
        _ x: Elements, weights: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
        into y: Elements, stride: Int, accumulate: Bool, lines: Range<Int>, scratch: PassScratch,
        finish: (_ lines: Range<Int>) -> Void
    ) {
        let (x, y) = (x.floats, y.floats)
        lines.forEachBlock(of: blockLines) { block in
            dt_depthwise_forward(
                x, scratch.shared, bias, self.weights.channels, self.weights.window, block.lowerBound, block.count, y,
                stride, accumulate ? 1 : 0)
            finish(block)
        }
    }
}

struct DepthwiseWeightGradient: WeightGradientPass {
    private let weights: DepthwiseWeights

    init(_ geometry: ConvolutionGeometry) { weights = DepthwiseWeights(geometry) }

    /// The thread's sum.
    var memory: PassMemory { PassMemory(perThread: weights.count) }

    func begin(_ scratch: PassScratch) { scratch.own.update(repeating: 0, count: weights.count) }

    func add(
        _ x: Elements, _ dz: Elements, stride: Int, lines: Range<Int>, scratch: PassScratch
    ) {
        dt_depthwise_weight_gradient(
            x.floats, dz.floats, stride, weights.channels, weights.window, lines.lowerBound, lines.count, scratch.own)
    }

    func finish(
        _ run: Run, active: Int, into gradient: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: PassScratch
    ) {
        for channel in run.part(of: weights.channels, granularity: 16) {
            for element in 0..<weights.elements {
                let place = channel * weights.elements + element
                var total: Float = accumulate ? gradient[place] : 0
                for thread in 0..<active { total += scratch.own(of: thread)[element * weights.channels + channel] }
                gradient[place] = total
            }
        }
    }
}

struct DepthwiseInputGradient: InputGradientPass {
    private let geometry: ConvolutionGeometry
    private let weights: DepthwiseWeights

    init(_ geometry: ConvolutionGeometry) {
        self.geometry = geometry
        weights = DepthwiseWeights(geometry)
    }

    var memory: PassMemory { PassMemory(shared: weights.count) }

    func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
        self.weights.pack(run, weights, into: scratch.shared)
    }

    func propagate(
        _ dz: Elements, stride: Int, weights: UnsafePointer<Float>, into dx: Elements,
        accumulate: Bool, lines: Range<Int>, scratch: PassScratch
    ) {
        let (dz, dx) = (dz.floats, dx.floats)
        geometry.forEachBand(of: lines) { band in
            let target = dx + band.firstElement
            if !accumulate { target.update(repeating: 0, count: band.elementCount) }
            dt_depthwise_input_gradient(
                dz + band.outputs.lowerBound * band.window.output_width * stride, stride, scratch.shared,
                geometry.inputs, band.window, 0, band.outputs.count, target)
        }
    }
}
