/// Operations that only move elements.
enum ShapeOracle {
    /// Joins along the last axis (the channels).
    static func concatenate(_ parts: [ReferenceTensor]) -> ReferenceTensor {
        let rows = parts[0].values.count / parts[0].shape.last!
        var values: [Double] = []
        for row in 0..<rows {
            for part in parts {
                let channels = part.shape.last!
                values += part.values[row * channels..<(row + 1) * channels]
            }
        }
        return ReferenceTensor(parts[0].shape.dropLast() + [parts.reduce(0) { $0 + $1.shape.last! }], values)
    }

    /// The parts of `outputGradient` that belong to inputs of these channel counts.
    static func concatenationGradients(_ channels: [Int], outputGradient: ReferenceTensor) -> [ReferenceTensor] {
        let total = channels.reduce(0, +)
        var first = 0
        return channels.map { count in
            defer { first += count }
            let values = outputGradient.values.indices.filter { (first..<first + count).contains($0 % total) }
            return ReferenceTensor(outputGradient.shape.dropLast() + [count], values.map { outputGradient.values[$0] })
        }
    }

    /// An image [N, H, W, C] as features [N, C · H · W], channel by channel as PyTorch flattens it.
    static func flatten(_ x: ReferenceTensor) -> ReferenceTensor {
        var y = ReferenceTensor([x.shape[0], x.shape[1] * x.shape[2] * x.shape[3]])
        forEachPair(x.shape) { y.values[$1] = x.values[$0] }
        return y
    }

    /// The gradient of an image of `shape` from that of its flattened features.
    static func flattenGradient(_ shape: [Int], outputGradient: ReferenceTensor) -> ReferenceTensor {
        var dx = ReferenceTensor(shape)
        forEachPair(shape) { dx.values[$0] = outputGradient.values[$1] }
        return dx
    }

    private static func forEachPair(_ shape: [Int], _ body: (_ image: Int, _ features: Int) -> Void) {
        var image = 0
        for n in 0..<shape[0] {
            for h in 0..<shape[1] {
                for w in 0..<shape[2] {
                    for c in 0..<shape[3] {
                        body(image, ((n * shape[3] + c) * shape[1] + h) * shape[2] + w)
                        image += 1
                    }
                }
            }
        }
    }
}
