internal import CKernels
package import DTrainTensor

/// Inverted dropout (Srivastava et al. 2014): sets elements to zero with the given probability and scales the others by
/// 1 / (1 − probability). The mask depends on the seed, the step, the layer and the position in the global batch, never
/// on the number of ranks; it is drawn again for the way back instead of being stored.
package struct DropoutOperation: Operation {
    package let probability: Float
    package init(probability: Float) { self.probability = probability }

    package var name: String { "dropout" }
    package var sequences: SequenceUse { .rowwise }
    package var flattenedInput: FlattenedInput { .kept }
    package var worksInPlace: Bool { true }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        guard probability >= 0, probability < 1 else {
            throw ShapeMismatch("a dropout probability lies in 0 ..< 1, not at \(probability)")
        }
        return inputs[0]
    }
    package func kernel(_ site: Site) -> any Kernel { DropoutKernel(probability, site) }
}

private final class DropoutKernel: Kernel {
    let probability: Float
    let site: Site

    init(_ probability: Float, _ site: Site) {
        self.probability = probability
        self.site = site
    }

    func forward(_ run: Run) {
        apply(run, from: run.pointer(site.inputs[0]), to: run.pointer(site.output), accumulate: false)
    }

    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        apply(
            run, from: run.pointer(site.outputGradient!), to: run.pointer(gradient.place),
            accumulate: gradient.accumulate)
    }

    private func apply(_ run: Run, from: UnsafeMutablePointer<Float>, to: UnsafeMutablePointer<Float>, accumulate: Bool)
    {
        let count = site.output.shape.count
        let layer = UInt32(site.index) &+ CounterRandom.Purpose.dropout.rawValue << 24
        func mask(_ row: Int, _ rows: Int, position: UInt64) {
            dt_dropout(
                from + row * count, to + row * count, rows, count, position, run.seed, layer,
                UInt32(truncatingIfNeeded: run.step), probability, accumulate ? 1 : 0)
        }
        let samples = run.part(of: run.rows)
        guard let sequences = run.sequences else {
            return mask(samples.lowerBound, samples.count, position: UInt64(run.firstPosition + samples.lowerBound))
        }
        // Sequences are sorted by length, so where a row lies depends on its neighbours; its sample's place in the global
        // batch does not, nor does its step.
        guard site.output.rows == .steps else {
            for sample in samples { mask(sample, 1, position: UInt64(sequences.positions[sample])) }
            return
        }
        for step in 0..<sequences.stepCount {
            for sample in samples.clamped(to: 0..<sequences.rows(at: step)) {
                mask(
                    sequences.offset(of: step) + sample, 1,
                    position: UInt64(sequences.positions[sample]) << 20 | UInt64(step))
            }
        }
    }
}
