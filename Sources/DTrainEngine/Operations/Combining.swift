internal import CKernels
package import DTrainTensor

/// y = a + b, element by element.
package struct Addition: Operation {
    package init() {}
    package var name: String { "add" }
    package var sequences: SequenceUse { .rowwise }
    package var gradientWorksInPlace: Bool { true }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        guard inputs[0] == inputs[1] else { throw ShapeMismatch("cannot add \(inputs[0]) and \(inputs[1])") }
        return inputs[0]
    }
    package func kernel(_ site: Site) -> any Kernel { AdditionKernel(site) }
}

private final class AdditionKernel: Kernel {
    let site: Site
    init(_ site: Site) { self.site = site }

    func forward(_ run: Run) {
        let (a, b, y) = (run.pointer(site.inputs[0]), run.pointer(site.inputs[1]), run.pointer(site.output))
        let part = run.part(of: run.rows(site.output) * site.output.shape.count, granularity: 1024)
        dt_add(a + part.lowerBound, b + part.lowerBound, y + part.lowerBound, part.count)
    }

    func backward(_ run: Run) {
        let dy = run.pointer(site.outputGradient!)
        let count = site.output.shape.count
        for case let gradient? in site.inputGradients {
            let dx = run.pointer(gradient.place)
            if dx == dy { continue }
            let part = run.part(of: run.rows(site.output) * count, granularity: 1024)
            dt_copy_rows(
                dy + part.lowerBound, part.count, dx + part.lowerBound, part.count, 1, part.count,
                gradient.accumulate ? 1 : 0)
        }
    }
}

/// The channels of several images (or features) side by side.
package struct Concatenation: Operation {
    package init() {}
    package var name: String { "concatenate" }
    package var sequences: SequenceUse { .rowwise }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        let leading = inputs[0].dimensions.dropLast()
        for input in inputs where input.rank != inputs[0].rank || input.dimensions.dropLast() != leading {
            throw ShapeMismatch(
                "cannot concatenate the channels of \(inputs[0]) and \(input): their other extents differ")
        }
        return Shape(leading + [inputs.reduce(0) { $0 + $1.dimensions.last! }])
    }
    package var writesStridedPixels: Bool { true }
    package func readsStridedPixels(input number: Int) -> Bool { true }
    package func storedElements(_ extents: Extents) -> StoredElements { .alike }
    package func kernel(_ site: Site) -> any Kernel { ConcatenationKernel(site) }
}

/// Copies those inputs, and gradients, that do not already lie in their slice of the output, or of its gradient.
private final class ConcatenationKernel: Kernel {
    private let site: Site
    /// The inputs that must be copied, and those whose gradients must.
    private let forwardCopies: [Copy]
    private let backwardCopies: [Copy]

    /// An input, by its number, and where its slice begins.
    private struct Copy { let input, channel: Int }

    init(_ site: Site) {
        self.site = site
        var channel = 0
        let slices = site.inputs.indices.map { index in
            defer { channel += site.inputs[index].channels }
            return Copy(input: index, channel: channel)
        }
        forwardCopies = slices.filter { !Self.lies(site.inputs[$0.input], at: $0.channel, of: site.output) }
        backwardCopies = slices.filter {
            guard let gradient = site.inputGradients[$0.input], let whole = site.outputGradient else { return false }
            return !Self.lies(gradient.place, at: $0.channel, of: whole)
        }
    }

    private static func lies(_ input: Place, at channel: Int, of output: Place) -> Bool {
        guard case .arena(let inner) = input.memory, case .arena(let outer) = output.memory else { return false }
        return inner == outer + channel * output.element.byteCount && input.pixelStride == output.pixelStride
    }

    func forward(_ run: Run) {
        let (output, y) = (site.output, run.elements(site.output))
        for copy in forwardCopies {
            let input = site.inputs[copy.input]
            let pixels = run.part(of: run.rows(site.output) * output.pixels)
            (run.elements(input) + pixels.lowerBound * input.pixelStride).copyRows(
                stride: input.pixelStride, to: y + (pixels.lowerBound * output.pixelStride + copy.channel),
                stride: output.pixelStride, rows: pixels.count, count: input.channels, accumulate: false)
        }
    }

    func backward(_ run: Run) {
        let (gradient, dy) = (site.outputGradient!, run.elements(site.outputGradient!))
        for copy in backwardCopies {
            let target = site.inputGradients[copy.input]!
            let dx = run.elements(target.place)
            let pixels = run.part(of: run.rows(site.output) * gradient.pixels)
            (dy + (pixels.lowerBound * gradient.pixelStride + copy.channel)).copyRows(
                stride: gradient.pixelStride, to: dx + pixels.lowerBound * target.place.pixelStride,
                stride: target.place.pixelStride, rows: pixels.count, count: target.place.channels,
                accumulate: target.accumulate)
        }
    }
}
