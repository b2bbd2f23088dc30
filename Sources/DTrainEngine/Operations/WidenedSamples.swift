internal import DTrainTensor

/// One thread's samples for a kernel of one input that knows fp32 alone: all of them where they lie, or, where the input or
/// the output lies as bf16, one at a time through fp32 copies that stay in the cache.
struct WidenedSamples {
    private let site: Site
    private let run: Run
    private var input: Place { site.inputs[0] }
    private var output: Place { site.output }

    init(_ site: Site, _ run: Run) {
        self.site = site
        self.run = run
    }

    private static func isNeeded(_ extents: Extents) -> Bool {
        extents.inputElements[0] == .bf16 || extents.outputElement == .bf16
    }

    /// The memory of such a kernel, which itself keeps `saved` floats.
    static func memory(_ extents: Extents, saved: Int) -> MemoryNeed {
        guard isNeeded(extents) else { return MemoryNeed(saved: saved) }
        let (input, output) = (extents.inputs[0].count.wholeLines, extents.output.count.wholeLines)
        return MemoryNeed(
            saved: saved, forwardWorkspace: extents.threads * (input + output),
            backwardWorkspace: extents.threads * (input + 2 * output))
    }

    /// Calls `body` with the first elements of some samples of the input and of the output, and the floats from one output
    /// pixel to the next.
    func forward(
        _ body: (
            _ samples: Range<Int>, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, _ stride: Int
        ) -> Void
    ) {
        let samples = run.part(of: run.rows)
        guard Self.isNeeded(site.extents) else {
            let first = samples.lowerBound
            return body(
                samples, run.pointer(input) + first * input.sampleStride,
                run.pointer(output) + first * output.sampleStride, output.pixelStride)
        }
        let (inputCount, outputCount) = (input.shape.count.wholeLines, output.shape.count.wholeLines)
        let x = run.arena + site.forwardWorkspace + run.thread * (inputCount + outputCount)
        let y = x + inputCount
        for sample in samples {
            widen(input, sample, into: x)
            body(sample..<sample + 1, x, y, output.channels)
            set(output, sample, from: y)
        }
    }

    /// Calls `body` with the first elements of some samples of the output's gradient, of the output (if it is read) and of the
    /// input's gradient, and with the floats from one pixel to the next of the first two.
    func backward(
        readsOutput: Bool,
        _ body: (
            _ samples: Range<Int>, _ dy: UnsafePointer<Float>, _ stride: Int, _ y: UnsafePointer<Float>, _ yStride: Int,
            _ dx: UnsafeMutablePointer<Float>
        ) -> Void
    ) {
        let (gradient, outer) = (site.inputGradients[0]!, site.outputGradient!)
        let samples = run.part(of: run.rows)
        guard Self.isNeeded(site.extents) else {
            let first = samples.lowerBound
            return body(
                samples, run.pointer(outer) + first * outer.sampleStride, outer.pixelStride,
                run.pointer(output) + first * output.sampleStride, output.pixelStride,
                run.pointer(gradient.place) + first * gradient.place.sampleStride)
        }
        let (inputCount, outputCount) = (input.shape.count.wholeLines, output.shape.count.wholeLines)
        let dx = run.arena + site.backwardWorkspace + run.thread * (inputCount + 2 * outputCount)
        let (dy, y) = (dx + inputCount, dx + inputCount + outputCount)
        for sample in samples {
            widen(outer, sample, into: dy)
            if readsOutput { widen(output, sample, into: y) }
            if gradient.accumulate { widen(gradient.place, sample, into: dx) }
            body(sample..<sample + 1, dy, outer.channels, y, output.channels, dx)
            set(gradient.place, sample, from: dx)
        }
    }

    private func widen(_ place: Place, _ sample: Int, into copy: UnsafeMutablePointer<Float>) {
        (run.elements(place) + sample * place.sampleStride).widenRows(
            stride: place.pixelStride, to: copy, stride: place.channels, rows: place.pixels, count: place.channels)
    }

    private func set(_ place: Place, _ sample: Int, from copy: UnsafePointer<Float>) {
        (run.elements(place) + sample * place.sampleStride).setRows(
            stride: place.pixelStride, from: copy, stride: place.channels, rows: place.pixels, count: place.channels)
    }
}
