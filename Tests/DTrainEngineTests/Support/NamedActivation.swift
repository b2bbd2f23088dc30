import DTrainLayers

/// The engine's activation of a name, and its oracle.
struct NamedActivation {
    let apply: (Value) -> Value
    let oracle: ElementwiseOracle

    static let names = ["relu", "tanh", "sigmoid", "leakyReLU"]

    init(_ name: String) {
        switch name {
        case "relu": (apply, oracle) = ({ relu($0) }, .relu)
        case "tanh": (apply, oracle) = ({ tanh($0) }, .tanh)
        case "sigmoid": (apply, oracle) = ({ sigmoid($0) }, .sigmoid)
        case "leakyReLU": (apply, oracle) = ({ leakyReLU($0, slope: 0.25) }, .leakyReLU(slope: 0.25))
        default: preconditionFailure("no activation \(name)")
        }
    }
}
