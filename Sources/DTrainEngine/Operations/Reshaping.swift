internal import CKernels
package import DTrainTensor

/// The same elements in the same order under another shape: no memory moves.
package struct Reshape: Operation {
    let shape: Shape
    package init(to shape: Shape) { self.shape = shape }

    package var name: String { "reshape" }
    package var sequences: SequenceUse { .rowwise }
    package var worksInPlace: Bool { true }
    package var changesElements: Bool { false }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        guard inputs[0].count == shape.count else {
            throw ShapeMismatch(
                "cannot reshape \(inputs[0]) (\(inputs[0].count) elements) to \(shape) (\(shape.count))")
        }
        return shape
    }
    package func kernel(_ site: Site) -> any Kernel { ReshapeKernel(site) }
}

/// Copies only where the plan could not give both values the same memory.
private final class ReshapeKernel: Kernel {
    let site: Site
    init(_ site: Site) { self.site = site }

    func forward(_ run: Run) {
        move(run, from: run.pointer(site.inputs[0]), to: run.pointer(site.output), accumulate: false)
    }

    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        move(
            run, from: run.pointer(site.outputGradient!), to: run.pointer(gradient.place),
            accumulate: gradient.accumulate)
    }

    private func move(_ run: Run, from: UnsafeMutablePointer<Float>, to: UnsafeMutablePointer<Float>, accumulate: Bool)
    {
        if from == to { return }
        let part = run.part(of: run.rows(site.output) * site.output.shape.count, granularity: 1024)
        dt_copy_rows(
            from + part.lowerBound, part.count, to + part.lowerBound, part.count, 1, part.count, accumulate ? 1 : 0)
    }
}

/// Each sample as a matrix of `rows` × `columns`, transposed: an image (pixels × channels) into PyTorch's order
/// (channels × pixels), or back.
package struct Transpose: Operation {
    package let rows: Int
    package let columns: Int
    package let shape: Shape

    package init(rows: Int, columns: Int, to shape: Shape) {
        self.rows = rows
        self.columns = columns
        self.shape = shape
    }

    package var name: String { "transpose" }
    package var sequences: SequenceUse { .rowwise }
    package var flattenedInput: FlattenedInput { .absorbed }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        guard inputs[0].count == rows * columns, shape.count == rows * columns else {
            throw ShapeMismatch("cannot transpose \(inputs[0]) as \(rows)×\(columns) to \(shape)")
        }
        return shape
    }
    package func kernel(_ site: Site) -> any Kernel { TransposeKernel(self, site) }
}

private final class TransposeKernel: Kernel {
    let operation: Transpose
    let site: Site

    init(_ operation: Transpose, _ site: Site) {
        self.operation = operation
        self.site = site
    }

    func forward(_ run: Run) {
        let (x, y) = (run.pointer(site.inputs[0]), run.pointer(site.output))
        let count = site.output.shape.count
        let samples = run.part(of: run.rows(site.output))
        dt_transpose(
            x + samples.lowerBound * count, y + samples.lowerBound * count, samples.count, operation.rows,
            operation.columns, 0)
    }

    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        let (dy, dx) = (run.pointer(site.outputGradient!), run.pointer(gradient.place))
        let count = site.output.shape.count
        let samples = run.part(of: run.rows(site.output))
        dt_transpose(
            dy + samples.lowerBound * count, dx + samples.lowerBound * count, samples.count, operation.columns,
            operation.rows, gradient.accumulate ? 1 : 0)
    }
}
