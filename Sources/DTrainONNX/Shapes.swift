import DTrainEngine
import DTrainTensor

extension Concatenation: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String { place.add("Concat", nil, [("axis", .int(1))]) }
}

extension Reshape: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String {
        guard place.outputShape.rank == 1 else {
            throw place.unsupported(
                "the exporter knows it for flattening alone, not from \(place.inputShape) to \(place.outputShape)")
        }
        return place.add("Flatten", nil, [("axis", .int(1))])
    }
}

extension Transpose: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String {
        switch place.outputShape.rank {
        // From the image's order to PyTorch's, which flattened values have here anyway.
        case 1 where place.readsFlattenedImage: return place.input
        // Features in PyTorch's order become an image.
        case 2, 3:
            guard place.inputShape.rank == 1, !place.readsFlattenedImage, rows == place.outputShape.dimensions.last
            else {
                break
            }
            return place.reshape(place.input, to: place.outputShape.channelsFirst)
        default: break
        }
        throw place.unsupported(
            "the exporter knows it between images and features alone, not \(rows)×\(columns) from \(place.inputShape) "
                + "to \(place.outputShape)")
    }
}

extension ZeroPaddingShortcut: ONNXOperation {
    func translate(_ place: NodePlace) throws -> String {
        let (extents, strides) = (place.inputShape.spatial, place.spatial(stride))
        let more = channels - place.inputShape.dimensions.last!
        var value = place.input
        if strides.contains(where: { $0 > 1 }) {
            value = place.add(
                "Slice",
                [
                    value, place.constant("starts", extents.map { _ in 0 }), place.constant("ends", extents),
                    place.constant("axes", extents.indices.map { $0 + 2 }), place.constant("steps", strides),
                ], helper: more > 0 ? "pixels" : nil)
        }
        if more > 0 {
            let none = extents.map { _ in 0 }
            value = place.add("Pad", [value, place.constant("pads", [0, 0] + none + [0, more] + none)])
        }
        return value
    }
}
