import DTrain

/// A network of one's own: two convolutions, each halved by a pool, and a linear head.
final class Tiny: Module {
    let conv1 = Conv2d(16, kernel: 3, padding: 1)
    let conv2 = Conv2d(32, kernel: 3, padding: 1)
    let head: Linear

    init(classes: Int) { head = Linear(classes) }

    func callAsFunction(_ x: Value) -> Value {
        let edges = maxPool(relu(conv1(x)), kernel: 2)
        let shapes = maxPool(relu(conv2(edges)), kernel: 2)
        return head(flatten(shapes))
    }
}

/// The whole command line of dtrain, with this model beside dtrain's own:
///
///     swift run -c release tiny train --model tiny --workers 2
@main struct TinyTrainer: TrainingProgram {
    static let models = [
        ModelEntry("tiny", "two 3×3 convolutions and a linear head") { Tiny(classes: $0.classes) }
    ]
}
