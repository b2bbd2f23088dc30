import DTrainCheckpoint
import DTrainData
import DTrainFetch
import DTrainONNX
import DTrainReport
import DTrainTrainer

/// How `dtrain` ends, as its exit code tells; README.md has the same table.
package enum ExitStatus: Int32, Sendable, CaseIterable {
    case done = 0
    /// A fault of the program itself: please report it.
    case unexpected = 1
    /// Wrong usage or configuration.
    case usage = 2
    /// Data that are missing or damaged.
    case data = 3
    /// A checkpoint that cannot be read or written.
    case checkpoint = 4
    /// Another rank failed or stalled.
    case peer = 5
    /// The loss is not finite.
    case notFinite = 6
    /// A signal asked to stop; a checkpoint is saved.
    case stopped = 75

    /// The exit code that an error ends the command with.
    static func of(_ error: any Error) -> ExitStatus {
        switch error {
        case is UsageError, is CheckpointFaultError, is FetchUsageError: .usage
        case is PNGError, is FetchError, is MissingRecipeData: .data
        case is MetricsError, ONNXError.parameters: .checkpoint
        case is ONNXError: .usage
        default: ExitStatus(rawValue: exitCode(of: error)) ?? .unexpected
        }
    }
}

/// Wrong usage of the command: what was wrong and what to do.
struct UsageError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
