import DTrainEngine
import DTrainModels
import DTrainTensor

/// Weights and images as formulas that NumPy computes too, bit for bit; `Fixtures/formulas.py` describes them.
enum Formula {
    /// Uniform in [−1, 1), from splitmix64.
    struct Signed {
        private let start: UInt64

        init(_ name: String) {
            start = name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        }

        func callAsFunction(_ index: Int) -> Float {
            var state = start &+ (UInt64(index) &+ 1) &* 0x9E37_79B9_7F4A_7C15
            state = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
            state = (state ^ state >> 27) &* 0x94D0_49BB_1331_11EB
            state ^= state >> 31
            return Float(state >> 40) * 0x1p-23 - 1
        }
    }

    /// A parameter's or buffer's values in PyTorch's order.
    private static func tensor(_ segment: ParameterSegment, branchEnd: String?) -> NamedTensor {
        let name = segment.name
        let tensor = NamedTensor(name: name, dtype: segment.dtype, shape: segment.shape)
        guard segment.dtype == .float32 else { return tensor }
        let signed = Signed(name)
        var (offset, scale, factor): (Float, Float, Float) = (0, 1, 1)
        if name.hasSuffix("running_mean") {
            scale = 0.2
        } else if name.hasSuffix("running_var") {
            (offset, scale) = (1, 0.5)
        } else if name.hasSuffix("bias") {
            scale = 0.1
        } else if segment.shape.rank == 1 {
            (offset, scale) = (1, 0.5)
            if let branchEnd, name.hasSuffix(branchEnd) { factor = 0.25 }
        } else {
            let fanIn = segment.shape.dimensions.dropFirst().reduce(1, *)
            scale = Float((6 / Double(fanIn)).squareRoot())
        }
        let floats = tensor.floats
        for index in 0..<floats.count { floats[index] = factor * (offset + scale * signed(index)) }
        return tensor
    }

    static func fill(_ replica: Replica, branchEnd: String? = nil) {
        for segment in replica.layout.segments {
            segment.take(tensor(segment, branchEnd: branchEnd), into: replica.parameters)
        }
    }

    /// Images `first` ..< `first` + `count`, height × width × channels.
    static func images(_ count: Int, _ shape: Shape, first: Int = 0) -> NamedTensor {
        let (height, width, channels) = (shape[0], shape[1], shape[2])
        let tensor = NamedTensor(name: "images", dtype: .float32, shape: Shape([count] + shape.dimensions))
        let (patches, pixels) = (Signed("patches"), Signed("pixels"))
        var index = 0
        for n in first..<first + count {
            for y in 0..<height {
                for x in 0..<width {
                    for c in 0..<channels {
                        let patch = patches((3 * n + c) * 4096 + y / 16 * 64 + x / 16)
                        let pixel = pixels((3 * n + c) << 20 + 1024 * y + x)
                        tensor.floats[index] = [0.5, 1, 2][n % 3] * (1.5 * patch + 0.5 * pixel)
                        index += 1
                    }
                }
            }
        }
        return tensor
    }

    static func labels(_ count: Int, classes: Int, first: Int = 0) -> [Int32] {
        (first..<first + count).map { Int32((37 * $0 + 5) % classes) }
    }
}
