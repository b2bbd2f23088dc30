import DTrainTensor

/// Which parameters weight decay applies to.
public enum DecayScope: String, Hashable, Sendable, Codable, CaseIterable {
    /// All of them.
    case all
    /// Those of two dimensions or more: neither biases nor the scales and shifts of normalisations.
    case weights
}

/// The trainable part of an arena in runs whose elements are updated with the same scalars, in order and without gaps.
/// Padding belongs to the parameter before it.
struct ParameterRuns {
    struct Run {
        var range: Range<Int>
        /// The elements of its parameters, without the padding after the last one.
        var content: Range<Int>
        let decays: Bool
        let isWeight: Bool
    }

    private(set) var runs: [Run] = []

    /// - Parameter separate: whether each parameter is a run of its own, for rules that look at a parameter's norm.
    init(_ layout: ParameterLayout, decay: DecayScope, separate: Bool) {
        let segments = layout.segments.filter { $0.role == .trainable }
        for (index, segment) in segments.enumerated() {
            let end = index + 1 < segments.count ? segments[index + 1].range.lowerBound : layout.trainableCount
            let decays = decay == .all || segment.isWeight
            if !separate, let last = runs.last, last.decays == decays {
                runs[runs.count - 1].range = last.range.lowerBound..<end
                runs[runs.count - 1].content = last.content.lowerBound..<segment.range.upperBound
            } else {
                runs.append(
                    Run(
                        range: segment.range.lowerBound..<end, content: segment.range, decays: decays,
                        isWeight: segment.isWeight))
            }
        }
    }

    /// The run that holds `offset`.
    func index(of offset: Int) -> Int {
        var (low, high) = (0, runs.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if runs[middle].range.lowerBound <= offset { low = middle } else { high = middle }
        }
        return low
    }
}
