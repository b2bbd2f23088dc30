import ArgumentParser
import Logging

/// `--log-level`, of every subcommand that decides something.
struct LoggingOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Diagnostics on standard error: \(Logger.Level.names). Default warning.", valueName: "level")
    )
    var logLevel: String?

    /// A logger of the level that was asked for.
    func logger() throws -> Logger {
        var logger = Logger(label: "dtrain") { _ in StandardErrorLog() }
        logger.logLevel = .warning
        if let logLevel {
            guard let level = Logger.Level(rawValue: logLevel) else {
                throw UsageError("--log-level '\(logLevel)' is not valid: give one of \(Logger.Level.names).")
            }
            logger.logLevel = level
        }
        return logger
    }
}

extension Logger.Level {
    static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
}

/// One line on standard error for each message.
private struct StandardErrorLog: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.warning

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { Console.diagnostic("[\(event.level)] \(event.message)\n") }
}
