internal import CKernels
package import DTrainTensor

/// y = a · b, element by element.
package struct Multiplication: Operation {
    package init() {}
    package var name: String { "multiply" }
    package var sequences: SequenceUse { .rowwise }
    package var backwardReads: BackwardReads { .inputs }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        guard inputs[0] == inputs[1] else { throw ShapeMismatch("cannot multiply \(inputs[0]) and \(inputs[1])") }
        return inputs[0]
    }
    package func kernel(_ site: Site) -> any Kernel { MultiplicationKernel(site) }
}

private final class MultiplicationKernel: Kernel {
    private let site: Site
    init(_ site: Site) { self.site = site }

    func forward(_ run: Run) {
        let (a, b, y) = (run.pointer(site.inputs[0]), run.pointer(site.inputs[1]), run.pointer(site.output))
        let part = run.part(of: run.rows(site.output) * site.output.shape.count, granularity: 1024)
        dt_multiply(a + part.lowerBound, b + part.lowerBound, y + part.lowerBound, part.count, 0)
    }

    func backward(_ run: Run) {
        let dy = run.pointer(site.outputGradient!)
        let part = run.part(of: run.rows(site.output) * site.output.shape.count, granularity: 1024)
        for (index, gradient) in site.inputGradients.enumerated() {
            guard let gradient else { continue }
            let (other, dx) = (run.pointer(site.inputs[1 - index]), run.pointer(gradient.place))
            dt_multiply(
                dy + part.lowerBound, other + part.lowerBound, dx + part.lowerBound, part.count,
                gradient.accumulate ? 1 : 0)
        }
    }
}

/// y = scale · x + shift with two numbers, element by element.
package struct ScaleShift: Operation {
    package let scale: Float
    package let shift: Float

    package init(scale: Float, shift: Float) {
        self.scale = scale
        self.shift = shift
    }

    package var name: String { "scaleShift" }
    package var sequences: SequenceUse { .rowwise }
    package var flattenedInput: FlattenedInput { .kept }
    package var worksInPlace: Bool { true }
    package func outputShape(_ inputs: [Shape]) throws -> Shape { inputs[0] }
    package func kernel(_ site: Site) -> any Kernel { ScaleShiftKernel(self, site) }
}

private final class ScaleShiftKernel: Kernel {
    private let operation: ScaleShift
    private let site: Site

    init(_ operation: ScaleShift, _ site: Site) {
        self.operation = operation
        self.site = site
    }

    func forward(_ run: Run) {
        let (x, y) = (run.pointer(site.inputs[0]), run.pointer(site.output))
        let part = run.part(of: run.rows(site.output) * site.output.shape.count, granularity: 1024)
        dt_scale_shift(x + part.lowerBound, y + part.lowerBound, part.count, operation.scale, operation.shift, 0)
    }

    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        let (dy, dx) = (run.pointer(site.outputGradient!), run.pointer(gradient.place))
        let part = run.part(of: run.rows(site.output) * site.output.shape.count, granularity: 1024)
        dt_scale_shift(
            dy + part.lowerBound, dx + part.lowerBound, part.count, operation.scale, 0, gradient.accumulate ? 1 : 0)
    }
}
