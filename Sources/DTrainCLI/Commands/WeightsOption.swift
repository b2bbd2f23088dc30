import ArgumentParser
import DTrainCheckpoint

/// `--weights` of the commands that read a checkpoint.
struct WeightsOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "training or averaged. Default averaged where the run kept an average (--ema).", valueName: "kind"))
    var weights: String?

    /// nil where the checkpoint decides.
    func choice() throws -> WeightsChoice? {
        try weights.map { try namedChoice("weights", $0, of: WeightsChoice.self) }
    }
}
