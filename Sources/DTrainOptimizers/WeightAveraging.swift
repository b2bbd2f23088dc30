/// An exponential moving average of the weights, taken after each update (Polyak and Juditsky 1992): average +=
/// (1 − decayₜ)·(p − average).
///
/// The first update's parameters start it, as in `torch.optim.swa_utils.AveragedModel` with `get_ema_multi_avg_fn`.
/// Parameters alone are averaged; buffers such as running statistics go with the training weights (`use_buffers=False`).
public struct WeightAveraging: Hashable, Sendable, Codable {
    /// In 0 ..< 1.
    public var decay: Double
    /// Whether the decay grows to its value: decayₜ = min(decay, (1 + t) / (10 + t)) for the update after t others, so
    /// that a short run is not an average of its first weights. Otherwise decayₜ = decay.
    public var warmsUp: Bool

    public init(decay: Double, warmsUp: Bool = false) {
        self.decay = decay
        self.warmsUp = warmsUp
    }

    /// The weight of the parameters in the average after the update that comes after `step` others.
    public func newWeight(atStep step: Int) -> Double {
        guard step > 0 else { return 1 }
        let t = Double(step)
        return 1 - (warmsUp ? min(decay, (1 + t) / (10 + t)) : decay)
    }

    /// Throws where the average is not defined.
    public func validate() throws(OptimizerConfigurationError) {
        guard decay >= 0 && decay < 1 else {
            throw .outOfRange(name: "decay of the average", value: decay, range: "at least 0 and below 1")
        }
    }
}
