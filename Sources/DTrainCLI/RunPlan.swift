import DTrainCheckpoint
import DTrainTrainer
import Foundation

/// What `train` is to do, from the layers of settings and, for a run that goes on, from its `config.yaml`.
struct RunPlan {
    /// Complete and validated.
    var configuration: RunConfiguration
    /// The run directory.
    var directory: String
    /// Whether a run in that directory goes on.
    var isResuming: Bool

    /// Reads what `--resume` and `--out` name. Only rank 0, or the parent of the workers, calls it.
    ///
    /// - Parameter now: names the directory of a new run: `runs/MODEL-TIME`.
    init(layers: [RunSettings], now: Date = Date()) throws {
        func last(_ setting: RunSetting) -> String? { layers.last { $0.values[setting] != nil }?.values[setting] }
        let out = last(.out)?.withoutTrailingSlashes
        switch last(.resume) ?? "none" {
        case "none", "":
            configuration = try RunConfiguration(layers: layers)
            isResuming = false
            directory = out ?? Self.newDirectory(model: configuration.model, now)
        case "auto":
            guard let out else {
                throw UsageError("--resume auto needs the run directory: give --out DIR as well.\(Self.knownRuns())")
            }
            directory = out
            (configuration, isResuming) = try Self.continuation(of: out, layers)
        case let checkpoint:
            let run = URL(fileURLWithPath: checkpoint).deletingLastPathComponent().deletingLastPathComponent()
                .relativePath
            directory = out ?? run
            try Self.check(checkpoint, of: run)
            (configuration, isResuming) = try Self.continuation(of: run, layers)
        }
        configuration.out = directory
    }

    /// Throws where `--resume` names nothing, a run directory, or a checkpoint without the run around it.
    private static func check(_ checkpoint: String, of run: String) throws {
        func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
        guard exists(checkpoint) else {
            throw CheckpointError.notACheckpoint(path: checkpoint, reason: "there is nothing of this name")
        }
        if exists(checkpoint + "/config.yaml") {
            throw UsageError(
                "\(checkpoint) is a run directory, not a checkpoint: give --resume auto --out \(shellQuoted(checkpoint))."
            )
        }
        guard exists(run + "/config.yaml") else {
            throw UsageError(
                "--resume '\(checkpoint)' is not a checkpoint in a run directory: there is no \(run)/config.yaml. "
                    + "Name one like RUN/checkpoints/step-00000100, or give --resume auto --out RUN.")
        }
    }

    /// The saved configuration of the run in `directory` under `layers`; a new one where nothing is there yet.
    private static func continuation(
        of directory: String, _ layers: [RunSettings]
    ) throws -> (configuration: RunConfiguration, isResuming: Bool) {
        let path = directory + "/config.yaml"
        guard FileManager.default.fileExists(atPath: path) else {
            let content = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
            guard content.isEmpty else {
                throw UsageError(
                    "\(directory) is not a run directory: it holds no config.yaml. Give the --out of the run to go on with."
                )
            }
            return (try RunConfiguration(layers: layers), false)
        }
        return (try RunConfiguration(resuming: ConfigurationFile.read(path), layers: layers), true)
    }

    private static func newDirectory(model: String, _ now: Date) -> String {
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.dateFormat = "yyyyMMdd-HHmmss"
        let base = "runs/\(model)-\(format.string(from: now))"
        // Two runs that start in the same second get directories of their own.
        var name = base
        var number = 2
        while FileManager.default.fileExists(atPath: name) {
            name = "\(base)-\(number)"
            number += 1
        }
        return name
    }

    /// The newest runs below `runs`, as a hint.
    private static func knownRuns() -> String {
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: "runs")) ?? []).filter {
            FileManager.default.fileExists(atPath: "runs/\($0)/config.yaml")
        }
        func modified(_ name: String) -> Date {
            let attributes = try? FileManager.default.attributesOfItem(atPath: "runs/\(name)/config.yaml")
            return attributes?[.modificationDate] as? Date ?? .distantPast
        }
        guard let newest = names.max(by: { modified($0) < modified($1) }) else { return "" }
        return " The newest run here: --out runs/\(newest)."
    }
}

/// What rank 0 tells the others before they start: what it was given, and what came of it.
struct RunBriefing: Codable {
    /// Rank 0's layers merged, by setting name; compared with each rank's own.
    var given: [String: String]
    /// The whole configuration as text, settings of this start included.
    var effective: [String: String]
    var directory: String

    init(layers: [RunSettings], plan: RunPlan) {
        given = Self.merged(layers).named
        var settings = RunSettings(source: "")
        settings.values = plan.configuration.saved.values
        for setting in RunSetting.allCases where setting.lifetime == .thisStart {
            settings.values[setting] = plan.configuration.text(of: setting)
        }
        effective = settings.named
        directory = plan.directory
    }

    /// The configuration that rank 0 resolved. Throws `differsBetweenRanks` where this rank was given other settings.
    func configuration(layers: [RunSettings], rank: Int, host: String) throws -> RunConfiguration {
        try Self.merged(layers).check(
            against: RunSettings(source: "rank 0", named: given.pairs), rank: rank, host: host)
        return try RunConfiguration(layers: [RunSettings(source: "rank 0", named: effective.pairs)])
    }

    private static func merged(_ layers: [RunSettings]) -> RunSettings {
        layers.reduce(into: RunSettings(source: "")) { all, layer in all.values.merge(layer.values) { $1 } }
    }
}

extension String {
    /// A directory as messages show it: `runs/a` for `runs/a/`.
    var withoutTrailingSlashes: String {
        var path = self
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }
}

extension RunSettings {
    fileprivate var named: [String: String] {
        Dictionary(uniqueKeysWithValues: values.map { ($0.key.rawValue, $0.value) })
    }
}

extension [String: String] {
    fileprivate var pairs: [(name: String, value: String)] { map { ($0.key, $0.value) } }
}
