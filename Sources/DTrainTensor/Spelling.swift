/// The candidates that `word` may be a misspelling of, nearest first, at most `limit`.
///
/// The distance is that of optimal string alignment (insertions, deletions, substitutions and swaps of neighbours
/// count one each), blind to case. A candidate counts as near within a third of the word's length, but at least two
/// edits; one that contains the word, or is contained in it, is near as well (`cnn` for `cnn-mnist`). Empty if
/// nothing is near: then the error should list all valid names.
public func nearest(_ word: String, to candidates: [String], limit: Int = 3) -> [String] {
    let wanted = Array(word.lowercased().unicodeScalars)
    let threshold = max(2, wanted.count / 3)
    var ranked: [(distance: Int, position: Int, name: String)] = []
    for (position, name) in candidates.enumerated() {
        let candidate = Array(name.lowercased().unicodeScalars)
        let distance = editDistance(wanted, candidate)
        let isPart =
            min(wanted.count, candidate.count) >= 2 && (contains(candidate, wanted) || contains(wanted, candidate))
        if distance <= threshold && distance < max(wanted.count, candidate.count) {
            ranked.append((distance, position, name))
        } else if isPart {
            ranked.append((threshold + distance, position, name))
        }
    }
    ranked.sort { ($0.distance, $0.position) < ($1.distance, $1.position) }
    return ranked.prefix(limit).map(\.name)
}

/// ` (did you mean a or b?)`, or nothing if no candidate is near: the tail of an error about an unknown name.
public func suggestion(for word: String, among candidates: [String]) -> String {
    let names = nearest(word, to: candidates)
    return names.isEmpty ? "" : " (did you mean \(names.joined(separator: " or "))?)"
}

/// The optimal string alignment distance, by the usual table of which three rows are kept.
private func editDistance(_ first: [Unicode.Scalar], _ second: [Unicode.Scalar]) -> Int {
    var beforePrevious = [Int](repeating: 0, count: second.count + 1)
    var previous = Array(0...second.count)
    for i in 0..<first.count {
        var current = [i + 1] + [Int](repeating: 0, count: second.count)
        for j in 0..<second.count {
            let substitution = previous[j] + (first[i] == second[j] ? 0 : 1)
            current[j + 1] = min(substitution, previous[j + 1] + 1, current[j] + 1)
            if i > 0, j > 0, first[i] == second[j - 1], first[i - 1] == second[j] {
                current[j + 1] = min(current[j + 1], beforePrevious[j - 1] + 1)
            }
        }
        (beforePrevious, previous) = (previous, current)
    }
    return previous[second.count]
}

private func contains(_ text: [Unicode.Scalar], _ part: [Unicode.Scalar]) -> Bool {
    guard part.count <= text.count else { return false }
    return (0...(text.count - part.count)).contains { text[$0..<$0 + part.count].elementsEqual(part) }
}
