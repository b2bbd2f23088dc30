import DTrainFetch
import DTrainModels
import DTrainReport
import DTrainTensor
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

    /// Whether these are the official weights of `model`, by that word or by the official file's name.
    static func areOfficial(_ weights: String?, of model: String) -> Bool {
        guard let weights else { return false }
        return weights == name
            || PretrainedWeights.all.contains { $0.model == model && $0.fileName == FilePath.name(of: weights) }
    }

    /// Whether a model with these weights changes its input first.
    static func transformsInput(of model: String, weights: String?) -> Bool {
        areOfficial(weights, of: model)
            && PretrainedWeights.all.contains { $0.model == model && $0.transformsInput }
    }

    /// What `--init` names: a path, or the cached file of `pretrained`.
    static func resolve(_ text: String, model: String) throws -> String { text == name ? try path(of: model) : text }
}
