/// Why a configuration cannot run. Each one ends the command with exit code 2.
public enum ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A value that its setting does not take. `valid` says what it takes.
    case invalidValue(setting: String, value: String, source: String?, valid: String, nearest: String?)
    /// A key that no setting has.
    case unknownSetting(name: String, source: String, nearest: String?)
    /// A setting that has no effect with the others.
    case withoutEffect(setting: String, reason: String, remedy: String)
    /// A setting that may not change when a run goes on.
    case changedOnResume(setting: String, saved: String, given: String, source: String)
    /// Two ranks were started with different settings.
    case differsBetweenRanks(setting: String, rank: Int, host: String, value: String?, rankZero: String?)
    /// Settings that do not fit the number of ranks or of samples.
    case doesNotFit(problem: String, remedy: String)

    public var description: String {
        switch self {
        case .invalidValue(let setting, let value, let source, let valid, let nearest):
            let place = source.map { " (in \($0))" } ?? ""
            let hint = nearest.map { "; did you mean '\($0)'?" } ?? "."
            return "--\(setting) '\(value)'\(place) is not valid: give \(valid)\(hint)"
        case .unknownSetting(let name, let source, let nearest):
            let hint = nearest.map { "did you mean '\($0)'?" } ?? "'dtrain train --help' lists the settings."
            return "\(source) sets '\(name)', which is not a setting; \(hint)"
        case .withoutEffect(let setting, let reason, let remedy):
            return "--\(setting) has no effect: \(reason); \(remedy)."
        case .changedOnResume(let setting, let saved, let given, let source):
            return
                "--\(setting) is '\(given)' on \(source) but '\(saved)' in the run that is resumed, and cannot change; "
                + "drop it, or start a new run with another --out."
        case .differsBetweenRanks(let setting, let rank, let host, let value, let rankZero):
            let mine = value.map { "'\($0)'" } ?? "not given"
            let theirs = rankZero.map { "'\($0)'" } ?? "not given"
            return
                "--\(setting) is \(mine) on rank \(rank) (\(host)) but \(theirs) on rank 0; "
                + "start every rank with the same arguments and configuration file."
        case .doesNotFit(let problem, let remedy):
            return "\(problem); \(remedy)."
        }
    }
}

/// The candidate that `name` was most likely meant to be: the fewest typing mistakes (insertions, deletions,
/// substitutions, swaps of neighbours), and no more than a third of the name's length; nil where none is that close.
public func nearestName(to name: String, among candidates: some Sequence<String>) -> String? {
    let wanted = Array(name.lowercased().unicodeScalars)
    let limit = max(1, wanted.count / 3)
    var best: (name: String, distance: Int)?
    for candidate in candidates {
        let distance = typingDistance(wanted, Array(candidate.lowercased().unicodeScalars))
        if distance <= limit, distance < best?.distance ?? .max { best = (candidate, distance) }
    }
    return best?.name
}

/// The optimal string alignment distance.
private func typingDistance(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
    var beforePrevious: [Int] = []
    var previous = Array(0...b.count)
    for i in 0..<a.count {
        var row = [i + 1]
        for j in 0..<b.count {
            var distance = min(previous[j] + (a[i] == b[j] ? 0 : 1), previous[j + 1] + 1, row[j] + 1)
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { distance = min(distance, beforePrevious[j - 1] + 1) }
            row.append(distance)
        }
        beforePrevious = previous
        previous = row
    }
    return previous[b.count]
}
