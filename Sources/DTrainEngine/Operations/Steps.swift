internal import CKernels
package import DTrainTensor

/// One step of a sequence, one row a sample; zeros for a sequence that is over by then.
package struct StepSelection: Operation {
    package let step: Int
    package init(step: Int) { self.step = step }
    package var name: String { "step" }
    package var sequences: SequenceUse { .collapsed }
    package func outputShape(_ inputs: [Shape]) throws -> Shape { inputs[0] }
    package func kernel(_ site: Site) -> any Kernel { StepSelectionKernel(step, site) }
}

private final class StepSelectionKernel: Kernel {
    private let step: Int
    private let site: Site

    init(_ step: Int, _ site: Site) {
        self.step = step
        self.site = site
    }

    func forward(_ run: Run) {
        let (sequences, count) = (run.sequences!, site.output.shape.count)
        let y = run.pointer(site.output)
        let samples = run.part(of: run.rows)
        let present = samples.clamped(to: 0..<rows(sequences))
        if !present.isEmpty {
            let x = run.pointer(site.inputs[0]) + (sequences.offset(of: step) + present.lowerBound) * count
            (y + present.lowerBound * count).update(from: x, count: present.count * count)
        }
        for sample in samples.dropFirst(present.count) {
            (y + sample * count).update(repeating: 0, count: count)
        }
    }

    /// The gradient of the steps beside this one: where nobody has written yet, zeros.
    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        let (sequences, count) = (run.sequences!, site.output.shape.count)
        let (dy, dx) = (run.pointer(site.outputGradient!), run.pointer(gradient.place))
        if !gradient.accumulate {
            let own = run.part(of: sequences.tokenCount)
            (dx + own.lowerBound * count).update(repeating: 0, count: own.count * count)
            run.meet()
        }
        let present = run.part(of: rows(sequences))
        guard !present.isEmpty else { return }
        dt_add_to(
            dx + (sequences.offset(of: step) + present.lowerBound) * count, dy + present.lowerBound * count,
            present.count * count)
    }

    private func rows(_ sequences: RunSequences) -> Int {
        step < sequences.stepCount ? sequences.rows(at: step) : 0
    }
}

/// A sequence whose steps are given one by one, as many as the longest sequence has; rows of sequences that are over by
/// then are left out.
package struct StepStack: Operation {
    package init() {}
    package var name: String { "stack" }
    package var sequences: SequenceUse { .stacked }
    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        guard inputs.allSatisfy({ $0 == inputs[0] }) else { throw ShapeMismatch("the steps differ in shape") }
        return inputs[0]
    }
    package func kernel(_ site: Site) -> any Kernel { StepStackKernel(site) }
}

private final class StepStackKernel: Kernel {
    private let site: Site
    init(_ site: Site) { self.site = site }

    func forward(_ run: Run) {
        let (sequences, count) = (run.sequences!, site.output.shape.count)
        let y = run.pointer(site.output)
        for step in 0..<sequences.stepCount {
            let own = run.part(of: sequences.rows(at: step))
            (y + (sequences.offset(of: step) + own.lowerBound) * count).update(
                from: run.pointer(site.inputs[step]) + own.lowerBound * count, count: own.count * count)
        }
    }

    func backward(_ run: Run) {
        let (sequences, count) = (run.sequences!, site.output.shape.count)
        let dy = run.pointer(site.outputGradient!)
        for (step, gradient) in site.inputGradients.enumerated() {
            guard let gradient else { continue }
            let dx = run.pointer(gradient.place)
            let samples = run.part(of: run.rows)
            let present = samples.clamped(to: 0..<(step < sequences.stepCount ? sequences.rows(at: step) : 0))
            if !present.isEmpty {
                let from = dy + (sequences.offset(of: step) + present.lowerBound) * count
                dt_copy_rows(
                    from, count, dx + present.lowerBound * count, count, present.count, count,
                    gradient.accumulate ? 1 : 0)
            }
            guard !gradient.accumulate else { continue }
            for sample in samples.dropFirst(present.count) {
                (dx + sample * count).update(repeating: 0, count: count)
            }
        }
    }
}
