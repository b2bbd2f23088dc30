/// The steps of one run of a recurrent layer in the order in which it goes through them.
///
/// At each step the rows are a prefix of the samples. Those below `continuing` had a step before it; the others begin here.
struct Unrolling {
    private let sequences: RunSequences?
    private let samples: Int
    private let reverses: Bool

    /// - Parameter sequences: nil for one step of every sample.
    init(_ sequences: RunSequences?, samples: Int, reverses: Bool) {
        self.sequences = sequences
        self.samples = samples
        self.reverses = reverses
    }

    var stepCount: Int { sequences?.stepCount ?? 1 }

    /// The step that comes after `index` others.
    func step(_ index: Int) -> Int { reverses ? stepCount - 1 - index : index }
    func rows(_ step: Int) -> Int { sequences?.rows(at: step) ?? samples }
    func offset(_ step: Int) -> Int { sequences?.offset(of: step) ?? 0 }
    func length(_ sample: Int) -> Int { sequences.map { Int($0.lengths[sample]) } ?? 1 }

    /// The steps that come after so many others, in the order of their rows.
    private func steps(_ indices: Range<Int>) -> Range<Int> {
        reverses ? stepCount - indices.upperBound..<stepCount - indices.lowerBound : indices
    }

    /// The step before `step`, as the layer goes.
    func before(_ step: Int) -> Int { reverses ? step + 1 : step - 1 }

    func continuing(_ step: Int) -> Int {
        reverses ? (step + 1 < stepCount ? rows(step + 1) : 0) : step > 0 ? rows(step) : 0
    }

    /// Calls `body` for some neighbouring steps after the other, in the layer's order or against it, with how many come before
    /// them, and with their rows, which are contiguous: as few steps as have `least` rows together.
    func forEachStretch(
        ofRows least: Int, backwards: Bool = false, _ body: (_ indices: Range<Int>, _ rows: Range<Int>) -> Void
    ) {
        var done = 0
        while done < stepCount {
            var (end, count) = (done, 0)
            while end < stepCount, count < least {
                count += rows(step(backwards ? stepCount - 1 - end : end))
                end += 1
            }
            let indices = backwards ? stepCount - end..<stepCount - done : done..<end
            let first = offset(steps(indices).lowerBound)
            body(indices, first..<first + count)
            done = end
        }
    }

    /// The rows of `step` that belong to `samples`: those that go on from the step before, then those that begin. Calls
    /// `body` for either, where there are any, with the first row, the samples, and the first row one step before; that is
    /// nil for samples that begin.
    func forEachPart(
        of step: Int, _ samples: Range<Int>, _ body: (_ row: Int, _ samples: Range<Int>, _ before: Int?) -> Void
    ) {
        let present = samples.clamped(to: 0..<rows(step))
        let going = present.clamped(to: 0..<continuing(step))
        if !going.isEmpty {
            body(offset(step) + going.lowerBound, going, offset(before(step)) + going.lowerBound)
        }
        let starting = max(present.lowerBound, continuing(step))..<max(present.upperBound, continuing(step))
        if !present.isEmpty, !starting.isEmpty { body(offset(step) + starting.lowerBound, starting, nil) }
    }

    /// The row of a sample's last step, as the layer goes; nil for a sequence without steps.
    func lastRow(of sample: Int) -> Int? {
        let length = length(sample)
        return length == 0 ? nil : offset(reverses ? 0 : length - 1) + sample
    }

    /// Rows of some steps and the rows one step before them, in runs that are contiguous in both: calls `body` with the first
    /// row, the row before it and the number of rows.
    func forEachRun(of indices: Range<Int>, _ body: (_ first: Int, _ before: Int, _ count: Int) -> Void) {
        var run = (first: 0, before: 0, count: 0)
        for step in steps(indices) {
            let count = continuing(step)
            guard count > 0 else { continue }
            let (first, before) = (offset(step), offset(before(step)))
            if run.count > 0, first == run.first + run.count, before == run.before + run.count {
                run.count += count
            } else {
                if run.count > 0 { body(run.first, run.before, run.count) }
                run = (first, before, count)
            }
        }
        if run.count > 0 { body(run.first, run.before, run.count) }
    }

    /// Rows of some steps at which samples begin: calls `body` with the first row, its sample and the number of rows.
    func forEachBeginning(of indices: Range<Int>, _ body: (_ first: Int, _ sample: Int, _ count: Int) -> Void) {
        for step in steps(indices) {
            let (continuing, rows) = (continuing(step), rows(step))
            if rows > continuing { body(offset(step) + continuing, continuing, rows - continuing) }
        }
    }
}
