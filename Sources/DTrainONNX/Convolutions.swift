import DTrainEngine
import DTrainTensor

extension Convolution: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String {
        try place.requirePlainHeight(geometry)
        return place.add(
            "Conv", place.weighted(hasBias), geometry.attributes(place) + [("group", .int(groups))])
    }
}

extension TransposedConvolution: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String {
        try place.requirePlainHeight(geometry)
        return place.add(
            "ConvTranspose", place.weighted(hasBias),
            geometry.attributes(place) + [
                ("output_padding", .ints(place.spatial(outputPadding))), ("group", .int(groups)),
            ])
    }
}

extension Linear: ONNXOperation {
    /// Over the channels of pixels or steps a linear layer is a convolution with windows of one pixel.
    func translate(_ place: NodePlace) throws -> String {
        guard place.inputShape.rank > 1 else {
            return place.add("Gemm", place.weighted(hasBias), [("transB", .int(1))])
        }
        let ones = place.inputShape.spatial.map { _ in 1 }
        var inputs = place.weighted(hasBias)
        inputs[1] = place.add(
            "Reshape",
            [inputs[1], place.constant("weight/shape", [outputs, place.inputShape.dimensions.last!] + ones)],
            helper: "weight")
        return place.add("Conv", inputs, [("kernel_shape", .ints(ones))])
    }
}

extension NodePlace {
    /// Input, weight and, where there is one, bias.
    fileprivate func weighted(_ hasBias: Bool) -> [String] {
        [input, parameter(0)] + (hasBias ? [parameter(1)] : [])
    }
}

extension WindowGeometry {
    fileprivate func attributes(_ place: NodePlace) -> [(String, GraphWriter.Attribute)] {
        let padding = place.spatial(padding)
        return [
            ("kernel_shape", .ints(place.spatial(kernel))), ("strides", .ints(place.spatial(stride))),
            ("pads", .ints(padding + padding)), ("dilations", .ints(place.spatial(dilation))),
        ]
    }
}
