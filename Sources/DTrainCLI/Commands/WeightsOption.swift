import ArgumentParser
import DTrainCheckpoint
import DTrainTensor

/// `--weights` of the commands that read a checkpoint.
struct WeightsOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "training or averaged. Default averaged where the run kept an average (--ema).", valueName: "kind"))
    var weights: String?

    /// nil where the checkpoint decides.
    func choice() throws -> WeightsChoice? {
        guard let weights else { return nil }
        guard let choice = WeightsChoice(rawValue: weights) else {
            let names = WeightsChoice.allCases.map(\.rawValue)
            throw UsageError(
                "--weights '\(weights)' is not valid\(suggestion(for: weights, among: names)): give one of "
                    + "\(names.joined(separator: ", ")).")
        }
        return choice
    }
}
