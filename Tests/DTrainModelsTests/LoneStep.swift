import DTrainEngine

/// The context of a step that shares its gradients with nobody.
final class LoneStep: StepContext {
    func gradientsReady(_ range: Range<Int>) {}
}
