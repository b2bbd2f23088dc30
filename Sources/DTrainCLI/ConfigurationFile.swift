import DTrainTrainer
import Foundation
import Yams

/// Settings from a YAML file: one mapping from the names of `train`'s flags to values.
enum ConfigurationFile {
    /// Reads `path`. A value is a scalar, or a list of scalars where the flag takes several between commas.
    static func read(_ path: String) throws -> RunSettings {
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            let reason =
                FileManager.default.fileExists(atPath: path)
                ? "it cannot be read as UTF-8 text" : "there is no such file"
            throw UsageError("--config \(path): \(reason).")
        }
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            let problem = String(describing: error).split(separator: "\n").first.map(String.init) ?? "not YAML"
            throw UsageError("\(path) is not valid YAML: \(problem)")
        }
        guard let root else { return RunSettings(source: path) }
        guard case .mapping(let mapping) = root else {
            throw UsageError("\(path) must be a mapping, one 'setting: value' a line.")
        }
        var values: [(name: String, value: String)] = []
        for (key, node) in mapping {
            guard let name = key.scalar?.string else {
                throw UsageError("\(path): a setting's name must be plain text.")
            }
            switch node {
            case .scalar(let scalar):
                // `setting:` alone, `~` and `null` leave the setting at its default.
                if scalar.style == .plain || scalar.style == .any, ["", "~", "null"].contains(scalar.string) {
                    continue
                }
                values.append((name, scalar.string))
            case .sequence(let sequence):
                let parts = sequence.compactMap { $0.scalar?.string }
                guard parts.count == sequence.count else {
                    throw UsageError("\(path): the list of '\(name)' must hold plain values.")
                }
                values.append((name, parts.joined(separator: ",")))
            default:
                throw UsageError("\(path): '\(name)' must be a value or a list of values.")
            }
        }
        return try RunSettings(source: path, named: values)
    }
}
