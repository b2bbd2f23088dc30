import DTrainTensor

/// Why a configuration cannot run. Each one ends the command with exit code 2.
public enum ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A value that its setting does not take. `valid` says what it takes.
    /// `names` are the valid ones where there are a few.
    case invalidValue(setting: String, value: String, source: String?, valid: String, names: [String] = [])
    /// A key that no setting has.
    case unknownSetting(name: String, source: String)
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
        case .invalidValue(let setting, let value, let source, let valid, let names):
            let place = source.map { " (in \($0))" } ?? ""
            return "--\(setting) '\(value)'\(place) is not valid\(suggestion(for: value, among: names)): give \(valid)."
        case .unknownSetting(let name, let source):
            let hint = suggestion(for: name, among: RunSetting.allCases.map(\.rawValue))
            return "\(source) sets '\(name)', which is not a setting\(hint); 'dtrain train --help' lists them."
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
