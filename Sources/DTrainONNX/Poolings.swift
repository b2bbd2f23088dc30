import DTrainEngine
import DTrainTensor

extension Pooling: ONNXOperation {
    /// ONNX's ceiling mode and PyTorch's differ in windows that begin in the padding, and in what an average divides by
    /// where a window ends beyond the padding. So the file says in so many words how far the windows reach, and rounds down.
    func translate(_ place: NodePlace) throws -> String {
        try place.requirePlainHeight(geometry)
        let (kernel, stride) = (place.spatial(geometry.kernel), place.spatial(geometry.stride))
        var before = place.spatial(geometry.padding)
        var after = before.indices.map { axis in
            let reach = (place.outputShape[axis] - 1) * stride[axis] + kernel[axis]
            return max(before[axis], reach - place.inputShape[axis] - before[axis])
        }
        func attributes() -> [(String, GraphWriter.Attribute)] {
            [("kernel_shape", .ints(kernel)), ("strides", .ints(stride)), ("pads", .ints(before + after))]
        }
        guard kind == .average else { return place.add("MaxPool", nil, attributes()) }
        var input = place.input
        var counts = countsPadding
        if countsPadding, before.contains(where: { $0 > 0 }), after != before {
            // Zeros in the padding count, what lies beyond does not: so the padding becomes a part of the image.
            let pads = place.constant("pads", [0, 0] + before + [0, 0] + before)
            input = place.add("Pad", [input, pads], helper: "pad")
            after = zip(after, before).map { $0 - $1 }
            before = before.map { _ in 0 }
            counts = false
        } else if after != before {
            counts = false
        }
        return place.add("AveragePool", [input], attributes() + [("count_include_pad", .int(counts ? 1 : 0))])
    }
}

extension AdaptivePooling: ONNXOperation {
    /// Windows of one size are an ordinary pooling. Others are cut out and reduced one by one, rows first, then columns:
    /// every window is a rectangle, so its mean is the mean of its rows' means.
    func translate(_ place: NodePlace) throws -> String {
        let (extents, sizes) = (place.inputShape.spatial, place.outputShape.spatial)
        let isAverage = kind == .average
        if sizes.allSatisfy({ $0 == 1 }) { return place.add(isAverage ? "GlobalAveragePool" : "GlobalMaxPool") }
        if zip(extents, sizes).allSatisfy({ $0 % $1 == 0 }) {
            let window = GraphWriter.Attribute.ints(zip(extents, sizes).map { $0 / $1 })
            return place.add(
                isAverage ? "AveragePool" : "MaxPool", nil, [("kernel_shape", window), ("strides", window)])
        }
        var value = place.input
        let axes = extents.indices.filter { extents[$0] != sizes[$0] }
        for axis in axes {
            let axisName = axis == extents.count - 1 ? "column" : "row"
            let axisIndex = place.constant(axisName + "/axis", [axis + 2])
            let parts = (0..<sizes[axis]).map { index in
                let (start, end) = (
                    index * extents[axis] / sizes[axis], ((index + 1) * extents[axis] + sizes[axis] - 1) / sizes[axis]
                )
                let name = "\(axisName)\(index)"
                let slice = place.add(
                    "Slice",
                    [value, place.constant(name + "/start", [start]), place.constant(name + "/end", [end]), axisIndex],
                    helper: name + "/slice")
                return place.add(
                    isAverage ? "ReduceMean" : "ReduceMax", [slice],
                    [("axes", .ints([axis + 2])), ("keepdims", .int(1))],
                    helper: name)
            }
            value = place.add(
                "Concat", parts, [("axis", .int(axis + 2))], helper: axis == axes.last ? nil : axisName + "s")
        }
        return value
    }
}
