import DTrainEngine
import DTrainTensor

extension ActivationOperation: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String {
        switch activation {
        case .identity: place.input
        case .relu: place.add("Relu")
        case .tanh: place.add("Tanh")
        case .sigmoid: place.add("Sigmoid")
        case .leakyReLU(let slope): place.add("LeakyRelu", nil, [("alpha", .float(slope))])
        }
    }
}

extension Addition: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String { place.add("Add") }
}

extension Multiplication: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String { place.add("Mul") }
}

extension ScaleShift: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String {
        if shift == 0 { return place.add("Mul", [place.input, place.constant("scale", scale)]) }
        let scaled =
            scale == 1
            ? place.input : place.add("Mul", [place.input, place.constant("scale", scale)], helper: "scaled")
        return place.add("Add", [scaled, place.constant("shift", shift)])
    }
}

extension Softmax: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String { place.add("Softmax", nil, [("axis", .int(1))]) }
}

extension ChannelScaling: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String {
        let shape = [scale.count] + place.inputShape.spatial.map { _ in 1 }
        let scaled = place.add(
            "Mul", [place.input, place.constant("scale", scale, shape: shape)], helper: "scaled")
        return place.add("Add", [scaled, place.constant("shift", shift, shape: shape)])
    }
}
