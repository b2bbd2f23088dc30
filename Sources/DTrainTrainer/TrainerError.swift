import DTrainCheckpoint
import DTrainCollectives
import DTrainData
import DTrainEngine
import DTrainOptimizers

/// What can go wrong in a run beside its data, its checkpoints, its configuration and the exchange between ranks,
/// which have errors of their own.
public enum TrainerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The loss of the update after `step` others (the first has step 0) is not finite; the parameters are as before it.
    case lossNotFinite(step: Int, loss: String, checkpoint: String?)
    /// The gradient's norm is not finite though the loss is; the parameters are as before the update.
    case gradientNotFinite(step: Int, checkpoint: String?)
    /// After `step` updates a parameter is not finite; no checkpoint was made of it.
    case parametersNotFinite(step: Int, checkpoint: String?)
    /// The evaluation after `step` updates has a loss that is not finite though no parameter is; no checkpoint was made.
    case evaluationNotFinite(step: Int, loss: String, checkpoint: String?)
    /// The run directory holds something and the run is not resumed.
    case runDirectoryNotEmpty(path: String)
    /// Another run works in the run directory.
    case runDirectoryInUse(path: String)
    /// The run directory or config.yaml in it cannot be written.
    case runDirectory(path: String, reason: String)
    /// The trace cannot be written.
    case traceFile(path: String, reason: String)
    /// A rank sees other data than rank 0.
    case dataDiffers(rank: Int, host: String, found: String, rankZero: String)
    /// A rank's model has another graph than rank 0's.
    case modelDiffers(rank: Int, host: String, difference: String)
    /// A checkpoint belongs to another model, other data, or another seed or batch.
    case checkpointDiffers(path: String, what: String, saved: String, given: String)
    /// The weights at `path` were trained on other characters than `data` has.
    case vocabularyDiffers(path: String, data: String, difference: String, remedy: String)

    public var description: String {
        switch self {
        case .lossNotFinite(let step, let loss, let checkpoint):
            "the loss is \(loss) at step \(step + 1): nothing was updated with it. "
                + "Lower --lr, add --warmup-epochs or --clip-norm" + Self.remains(checkpoint)
        case .gradientNotFinite(let step, let checkpoint):
            "the gradient's norm is not finite at step \(step + 1): nothing was updated with it. "
                + "Lower --lr or add --warmup-epochs" + Self.remains(checkpoint)
        case .parametersNotFinite(let step, let checkpoint):
            "a parameter is not finite after step \(step): no checkpoint was made of it. "
                + "Lower --lr, add --warmup-epochs or --clip-norm" + Self.remains(checkpoint)
        case .evaluationNotFinite(let step, let loss, let checkpoint):
            "the test loss is \(loss) after step \(step): no checkpoint was made of it. "
                + "Lower --lr, add --warmup-epochs or --clip-norm" + Self.remains(checkpoint)
        case .runDirectoryNotEmpty(let path):
            "the run directory \(path) is not empty: continue that run with --resume auto, or choose another --out"
        case .runDirectoryInUse(let path):
            "another run is working in \(path): wait until it ends, or choose another --out"
        case .runDirectory(let path, let reason):
            "cannot write \(path): \(reason). Free space, correct the permissions, or choose another --out"
        case .traceFile(let path, let reason):
            "cannot write the trace \(path): \(reason). Name a file in a directory that can be written, or leave --trace out"
        case .dataDiffers(let rank, let host, let found, let rankZero):
            "rank \(rank) (\(host)) has other data than rank 0: digest \(found), rank 0 has \(rankZero); "
                + "copy the same files to every host"
        case .modelDiffers(let rank, let host, let difference):
            "rank \(rank) (\(host)) has another model than rank 0: \(difference); "
                + "start the same version of the program on every host"
        case .checkpointDiffers(let path, let what, let saved, let given):
            "\(path) was written with \(what) '\(saved)', and this run has '\(given)'; "
                + "continue it with what it was started with, or start a new run with another --out"
        case .vocabularyDiffers(let path, let data, let difference, let remedy):
            "the vocabulary of \(path) is not that of \(data): \(difference); \(remedy)"
        }
    }

    /// The exit code of `dtrain` for this error.
    public var exitCode: Int32 {
        switch self {
        case .lossNotFinite, .gradientNotFinite, .parametersNotFinite, .evaluationNotFinite: 6
        case .runDirectoryNotEmpty, .runDirectoryInUse, .modelDiffers, .checkpointDiffers, .vocabularyDiffers: 2
        case .dataDiffers: 3
        case .runDirectory, .traceFile: 4
        }
    }

    private static func remains(_ checkpoint: String?) -> String {
        checkpoint.map { ", and resume from \($0), which is intact" } ?? "; there is no checkpoint yet"
    }
}

/// An error that every rank throws at the same point: the command line prints it once, on rank 0, and every rank leaves
/// in good order with `exitCode`. Any other error is one rank's own: print it and abort the job.
public struct SharedFailure: Error, Sendable, CustomStringConvertible {
    /// The error itself where it arose; on the other ranks nil.
    public let underlying: (any Error)?
    public let description: String
    /// The exit code of `dtrain` for this error.
    public let exitCode: Int32

    init(_ error: any Error) {
        underlying = error
        description = "\(error)"
        exitCode = DTrainTrainer.exitCode(of: error)
    }

    /// The same on a rank that was told of it.
    init(description: String, exitCode: Int32) {
        underlying = nil
        self.description = description
        self.exitCode = exitCode
    }
}

/// The exit code of `dtrain` for an error of the boxes that a trainer uses; 1 for one that they do not throw.
package func exitCode(of error: any Error) -> Int32 {
    switch error {
    case let error as SharedFailure: error.exitCode
    case let error as TrainerError: error.exitCode
    case is ConfigurationError, is DataUsageError, is GraphError, is OptimizerConfigurationError, is ScheduleError: 2
    case is DataError: 3
    case is CheckpointError: 4
    case is CommunicationError: 5
    default: 1
    }
}
