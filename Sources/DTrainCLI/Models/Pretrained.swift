import DTrainFetch
import DTrainModels
import DTrainReport
import Foundation

/// `--init pretrained`: the official weights of a model, from the cache or downloaded into it.
enum Pretrained {
    /// The value of `--init` that stands for them.
    static let name = "pretrained"

    /// Where the weights of `model` are now. Throws `FetchUsageError` where there are none of that name, `FetchError` where
    /// they cannot be had.
    static func path(of model: String) throws -> String {
        let progress = FetchReporter(terminal: Terminal.watchingStandardError())
        return try PretrainedWeights.named(model).locate(
            environment: ProcessInfo.processInfo.environment, report: progress.receive)
    }

    /// What `--init` names: a path, or the cached file of `pretrained`.
    static func resolve(_ text: String, model: String) throws -> String { text == name ? try path(of: model) : text }
}
