internal import CKernels
internal import DTrainTensor

/// dW in bf16 by a kernel of our own: for every position of the window the product of the output's gradients with what the
/// position sees, the sum running over output pixels, two of which are multiplied at once. Both factors are packed some hundred
/// pixels at a time: the packed ones stay in the caches, and sums go through the core once for so many pixels.
struct PairedWeightGradient: WeightGradientPass {
    let takesBF16 = true
    let multipliesBF16 = true
    private let geometry: ConvolutionGeometry
    /// The output's gradients as an image whose pixels are seen one by one.
    private let outer: dt_window

    /// The most output pixels that are packed together; panels of no power of two lie apart in the caches.
    private static let blockPixels = 480
    /// The most panels of inputs that are packed together: each pixel is read in a long run.
    private static let blockPanels = 8

    /// Whether the processor multiplies pairs of bf16, and there is a single product for each position.
    static func canCompute(_ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Bool {
        setting.precision == .bf16 && setting.isTraining && geometry.groups == 1 && dt_bf16_is_fast()
    }

    init(_ geometry: ConvolutionGeometry) {
        self.geometry = geometry
        let image: Shape = [geometry.window.output_height, geometry.window.output_width, geometry.outputs]
        outer = WindowGeometry(kernel: 1).cWindow(input: image, output: image)
    }

    private var panel: (left: Int, right: Int) { (dt_bf16_left_panel(), dt_bf16_panel()) }
    private var sumCount: Int { geometry.weightCount.wholeLines }
    private var leftCount: Int {
        (geometry.outputs + panel.left - 1) / panel.left * panel.left * Self.blockPixels / 2
    }
    private var rightCount: Int { Self.blockPanels * panel.right * Self.blockPixels / 2 }
    /// The left factor in rows, as AMX takes it.
    private var rowsCount: Int { geometry.outputs * dt_bf16_row(Self.blockPixels / 2) }

    /// Whether there are sums yet, a cache line; the thread's sums; the packed factors.
    var memory: PassMemory { PassMemory(perThread: Self.head + sumCount + leftCount + rowsCount + rightCount) }
    private static let head = 16
    private func sums(_ own: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Float> { own + Self.head }
    var blockSamples: Int { (Self.blockPixels + geometry.outputPixels - 1) / geometry.outputPixels }

    func begin(_ scratch: PassScratch) { scratch.own[0] = 0 }

    func add(_ x: Elements, _ dz: Elements, stride: Int, lines: Range<Int>, scratch: PassScratch) {
        let pixels = lines.scaled(by: geometry.window.output_width)
        let blocks = (pixels.count + Self.blockPixels - 1) / Self.blockPixels
        for block in 0..<blocks {
            let (first, end) = (pixels.count * block / blocks, pixels.count * (block + 1) / blocks)
            add(
                x, dz, stride: stride, pixels: pixels.lowerBound + first..<pixels.lowerBound + end,
                to: sums(scratch.own), isFirst: scratch.own[0] == 0)
            scratch.own[0] = 1
        }
    }

    private func add(
        _ x: Elements, _ dz: Elements, stride: Int, pixels: Range<Int>, to sums: UnsafeMutablePointer<Float>,
        isFirst: Bool
    ) {
        let (window, inputs, outputs) = (geometry.window, geometry.inputs, geometry.outputs)
        let left = sums + sumCount
        let rows = left + leftCount
        let right = rows + rowsCount
        let pairs = (pixels.count + 1) / 2
        dt_bf16_window_pairs(dz, outer, stride, outputs, 0, 0, pixels.lowerBound, pixels.count, panel.left, left)
        dt_bf16_rows_of_pairs(left, panel.left, outputs, pairs, rows)
        let positions = window.kernel_height * window.kernel_width
        for position in 0..<positions {
            for first in Swift.stride(from: 0, to: inputs, by: Self.blockPanels * panel.right) {
                let channels = min(Self.blockPanels * panel.right, inputs - first)
                dt_bf16_window_pairs(
                    x + first, window, inputs, channels, position / window.kernel_width, position % window.kernel_width,
                    pixels.lowerBound, pixels.count, panel.right, right)
                for input in Swift.stride(from: 0, to: channels, by: panel.right) {
                    dt_bf16_multiply_pairs(
                        rows, dt_bf16_row(pairs), 1, right + input * pairs, panel.right, pairs, outputs,
                        min(panel.right, channels - input), !isFirst, sums + position * inputs + first + input,
                        positions * inputs)
                }
            }
        }
    }

    func finish(
        _ run: Run, active: Int, into gradient: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: PassScratch
    ) {
        let part = run.part(of: geometry.weightCount, granularity: 16)
        let target = gradient + part.lowerBound
        if !accumulate { target.update(from: sums(scratch.own(of: 0)) + part.lowerBound, count: part.count) }
        for thread in (accumulate ? 0 : 1)..<max(active, 1) {
            dt_add_to(target, sums(scratch.own(of: thread)) + part.lowerBound, part.count)
        }
    }
}
