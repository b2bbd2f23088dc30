import DTrainEngine
import DTrainTensor

extension BatchNorm: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String {
        let channels = place.inputShape.dimensions.last!
        let affine =
            isAffine
            ? [place.parameter(0), place.parameter(1)]
            : [
                place.constant("weight", [Float](repeating: 1, count: channels), shape: [channels]),
                place.constant("bias", [Float](repeating: 0, count: channels), shape: [channels]),
            ]
        let statistics = isAffine ? 2 : 0
        return place.add(
            "BatchNormalization",
            [place.input] + affine + [place.parameter(statistics), place.parameter(statistics + 1)],
            [("epsilon", .float(epsilon))])
    }
}

extension Normalization: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String {
        switch extent {
        case .groups(let groups): groupNorm(place, groups)
        case .channels: layerNorm(place, place.inputShape.spatial.isEmpty ? .inPlace : .channelsLast, rank: 1)
        // The weight of an image has its channels first, that of a sequence last.
        case .sample:
            layerNorm(place, place.inputShape.rank == 2 ? .channelsLast : .inPlace, rank: place.inputShape.rank)
        }
    }

    /// Each group as one channel through an instance normalisation; ONNX's own group normalisation is younger and has
    /// changed the meaning of its weights.
    private func groupNorm(_ place: NodePlace, _ groups: Int) -> String {
        let shape = place.inputShape
        let rows = place.reshape(place.input, to: [groups, -1], helper: "groups")
        let normalized = place.add(
            "InstanceNormalization",
            [
                rows, place.constant("ones", [Float](repeating: 1, count: groups), shape: [groups]),
                place.constant("zeros", [Float](repeating: 0, count: groups), shape: [groups]),
            ], [("epsilon", .float(epsilon))], helper: "normalized")
        guard isAffine else { return place.reshape(normalized, to: shape.channelsFirst) }
        let image = place.reshape(normalized, to: shape.channelsFirst, helper: "image")
        // One number a channel, for all pixels.
        let extents = place.constant("channel/shape", [shape.dimensions.last!] + shape.spatial.map { _ in 1 })
        let weight = place.add("Reshape", [place.parameter(0), extents], helper: "weight")
        let bias = place.add("Reshape", [place.parameter(1), extents], helper: "bias")
        return place.add("Add", [place.add("Mul", [image, weight], helper: "scaled"), bias])
    }

    private enum Layout { case inPlace, channelsLast }

    /// Over the last `rank` axes, which must be next to each other in the order that the weights have.
    private func layerNorm(_ place: NodePlace, _ layout: Layout, rank: Int) -> String {
        let shape = place.inputShape
        let last = layout == .channelsLast
        // 0 is the batch, 1 the channels: 0, 2, …, 1 and back.
        let spatialAxes = Array(2..<2 + shape.spatial.count)
        let input =
            last ? place.add("Transpose", nil, [("perm", .ints([0] + spatialAxes + [1]))], helper: "last") : place.input
        let extents = (last ? shape.dimensions : shape.channelsFirst).suffix(rank)
        let affine =
            isAffine
            ? [place.parameter(0), place.parameter(1)]
            : [
                place.constant(
                    "weight", [Float](repeating: 1, count: extents.reduce(1, *)), shape: Array(extents))
            ]
        let normalized = place.add(
            "LayerNormalization", [input] + affine, [("axis", .int(-rank)), ("epsilon", .float(epsilon))],
            helper: last ? "normalized" : nil)
        guard last else { return normalized }
        return place.add("Transpose", [normalized], [("perm", .ints([0, shape.rank] + spatialAxes.map { $0 - 1 }))])
    }
}

extension LocalResponseNorm: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String {
        // ONNX counts an even neighbourhood the other way round, and runtimes want images.
        guard size % 2 == 1, place.inputShape.rank == 3 else { return spelledOut(place) }
        return place.add(
            "LRN", nil, [("size", .int(size)), ("alpha", .float(alpha)), ("beta", .float(beta)), ("bias", .float(k))])
    }

    /// The mean of the squares of neighbouring channels is an average pooling over an image whose lines are channels.
    private func spelledOut(_ place: NodePlace) -> String {
        let shape = place.inputShape.channelsFirst
        let squares = place.add("Mul", [place.input, place.input], helper: "squares")
        let lines = place.reshape(squares, to: [1, shape[0], -1], helper: "lines")
        let means = place.add(
            "AveragePool", [lines],
            [
                ("kernel_shape", .ints([size, 1])), ("strides", .ints([1, 1])),
                ("pads", .ints([size / 2, 0, (size - 1) / 2, 0])), ("count_include_pad", .int(1)),
            ], helper: "means")
        let scaled = place.add(
            "Mul", [place.reshape(means, to: shape, helper: "image"), place.constant("alpha", alpha)], helper: "scaled")
        let sum = place.add("Add", [scaled, place.constant("k", k)], helper: "sum")
        let divisor = place.add("Pow", [sum, place.constant("beta", beta)], helper: "divisor")
        return place.add("Div", [place.input, divisor])
    }
}
