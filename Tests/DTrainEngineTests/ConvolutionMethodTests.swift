import DTrainLayers
import DTrainTensor
import Foundation
import Testing

/// The ways to compute a convolution check each other: outputs and all gradients agree over random geometries, with
/// padding beyond the kernel, images smaller than the window's reach, sequences, more threads than samples, and results
/// that lie in a slice of a concatenation or are added to. A fifth of them give every channel a kernel of its own.
@Suite struct ConvolutionMethodTests {
    /// Geometries of a normal run; `DTRAIN_TEST_GEOMETRIES` asks for more.
    static let count = ProcessInfo.processInfo.environment["DTRAIN_TEST_GEOMETRIES"].flatMap(Int.init) ?? 3_000
    private static let parts = 4

    @Test(arguments: 0..<parts)
    func directAndUnfoldedAgree(part: Int) throws {
        var compared = 0
        for number in stride(from: part, to: Self.count, by: Self.parts) {
            guard let geometry = RandomGeometry(number) else { continue }
            compared += 1
            let direct = try geometry.run(.direct)
            let unfolded = try geometry.run(.unfolded)
            for (name, expected) in unfolded {
                let difference = relativeDifference(direct[name]!, expected)
                #expect(difference <= 1e-4, "number \(number): \(name) differs by \(difference); \(geometry)")
            }
        }
        #expect(compared > Self.count / Self.parts / 2)
    }

    /// Kernels of 3 × 3 and 5 × 5 with stride 1, and images of whole and of broken tiles.
    @Test(arguments: 0..<parts)
    func minimalFilteringAndUnfoldedAgree(part: Int) throws {
        var compared = 0
        for number in stride(from: part, to: Self.count, by: Self.parts) {
            guard let geometry = RandomGeometry(number, tiles: true) else { continue }
            compared += 1
            let filtered = try geometry.run(.winograd)
            let unfolded = try geometry.run(.unfolded)
            for (name, expected) in unfolded {
                let difference = relativeDifference(filtered[name]!, expected)
                #expect(difference <= 1e-4, "number \(number): \(name) differs by \(difference); \(geometry)")
            }
        }
        #expect(compared > Self.count / Self.parts / 2)
    }

    /// The largest difference, relative to the largest expected value; NaN counts as infinite.
    private func relativeDifference(_ actual: [Float], _ expected: [Float]) -> Float {
        guard actual.count == expected.count else { return .infinity }
        var (largest, difference) = (Float(1e-3), Float(0))
        for (a, e) in zip(actual, expected) {
            largest = max(largest, abs(e))
            difference = (a - e).isNaN ? .infinity : max(difference, abs(a - e))
        }
        return difference / largest
    }
}

/// A convolution drawn from a number, and what surrounds it.
private struct RandomGeometry: CustomStringConvertible {
    enum Use: Int { case once, twiceAdded, twiceConcatenated }

    let image: Shape
    let outputs: Int
    let groups: Int
    let window: WindowGeometry
    let hasBias: Bool
    let activation: Activation
    let use: Use
    let rows: Int
    let threads: Int
    let number: Int

    /// nil where the window does not fit the padded image; `tiles` draws what minimal filtering can compute.
    init?(_ number: Int, tiles: Bool = false) {
        let random = CounterRandom(seed: UInt64(number), purpose: .synthetic, stream: 41)
        var drawn: UInt64 = 0
        func draw<Element>(_ choices: [Element]) -> Element {
            drawn += 1
            return choices[random.below(choices.count, drawn)]
        }
        func pair(_ choices: [Int]) -> Pair { Pair(draw(choices), draw(choices)) }
        let isSequence = !tiles && draw([true, false, false, false])
        var kernel = pair([1, 2, 3, 4, 5, 7])
        if tiles { kernel = draw([Pair(3, 3), Pair(5, 5)]) }
        var padding = Pair(draw(Array(0...kernel.height + 2)), draw(Array(0...kernel.width + 2)))
        var dilation = tiles ? Pair(1, 1) : pair([1, 1, 1, 2, 3])
        var stride = tiles ? Pair(1, 1) : pair([1, 1, 2, 3])
        let isDepthwise = !tiles && draw([true, false, false, false, false])
        let channels = draw(
            isDepthwise ? [2, 3, 7, 8, 16, 33, 43] : [1, 1, 2, 3, 4, 5, 8, 10, 17] + (tiles ? [16, 32, 48] : []))
        let extents = pair([1, 2, 3, 4, 5, 7, 9, 12])
        if isSequence {
            (kernel.height, padding.height, dilation.height, stride.height) = (1, 0, 1, 1)
            image = [extents.width * 2, channels]
        } else {
            image = [extents.height, extents.width, channels]
        }
        window = WindowGeometry(kernel: kernel, stride: stride, padding: padding, dilation: dilation)
        let grouped = tiles ? [1, 2, 4, 8].filter { channels % $0 == 0 } : [1]
        groups = isDepthwise ? channels : draw(grouped)
        outputs = isDepthwise ? channels : draw([1, 2, 3, 5, 8, 10, 15, 16, 20, 24, 33, 40]) * groups
        hasBias = draw([true, true, false])
        activation = draw([.identity, .tanh])
        use = draw([.once, .once, .twiceAdded, .twiceConcatenated])
        rows = draw([1, 2, 3, 5])
        threads = draw([1, 2, 3])
        self.number = number
        let size = isSequence ? (1, image[0]) : (image[0], image[1])
        guard size.0 + 2 * padding.height > dilation.height * (kernel.height - 1),
            size.1 + 2 * padding.width > dilation.width * (kernel.width - 1)
        else { return nil }
    }

    var description: String {
        "\(rows)×\(image) to \(outputs), groups \(groups), kernel \(window.kernel), stride \(window.stride), padding \(window.padding), "
            + "dilation \(window.dilation), \(hasBias ? "bias" : "no bias"), \(activation), \(use), \(threads) threads"
    }

    /// The outputs and every gradient, by name.
    func run(_ method: ConvolutionMethod) throws -> [String: [Float]] {
        let replica = try TestReplica(
            Probe(geometry: self, method: method), input: [rows], objective: .meanSquaredError, capacity: rows + 1,
            threads: threads)
        // One row more before: nothing may depend on what memory held.
        replica.step(
            ReferenceTensor.random([rows + 1, rows], seed: 3, in: -9...9), labels: [Int](repeating: 0, count: rows + 1))
        var identity = ReferenceTensor([rows, rows])
        for row in 0..<rows { identity[row, row] = 1 }
        replica.step(identity, labels: (0..<rows).map { ($0 * 7 + number) % replica.replica.outputCount })
        var results = ["output": replica.outputs]
        for name in replica.parameterNames { results[name] = replica.gradient(name).floats }
        return results
    }

    /// Sample n is column n of the table's weight, whose gradient is therefore that of the convolution's input.
    private final class Probe: Module {
        let geometry: RandomGeometry
        let method: ConvolutionMethod
        let table: Linear
        let convolution = Weights()

        final class Weights: Module {
            func callAsFunction(_ x: Value) -> Value { x }
        }

        init(geometry: RandomGeometry, method: ConvolutionMethod) {
            self.geometry = geometry
            self.method = method
            table = Linear(geometry.image.count, bias: false)
        }

        func callAsFunction(_ x: Value) -> Value {
            let image = reshape(table(x), to: geometry.image)
            switch geometry.use {
            case .once: return flatten(convolve(image))
            case .twiceAdded: return flatten(convolve(image) + convolve(image))
            case .twiceConcatenated: return flatten(concatenate([convolve(image), convolve(image)]))
            }
        }

        private func convolve(_ x: Value) -> Value {
            let (kernel, inputs, outputs) = (geometry.window.kernel, geometry.image.dimensions.last!, geometry.outputs)
            let order = StorageOrder.convolution(
                outputs: outputs, inputs: inputs / geometry.groups, height: kernel.height, width: kernel.width)
            let shape: Shape = [outputs, inputs / geometry.groups, kernel.height, kernel.width]
            let y = x.applying(
                Convolution(
                    outputs: outputs, geometry: geometry.window, groups: geometry.groups, hasBias: geometry.hasBias,
                    method: method),
                layer: convolution,
                parameters: [(name: "weight", shape: shape, order: order, initializer: .standardWeight)]
                    + (geometry.hasBias
                        ? [(name: "bias", shape: [outputs], order: .plain, initializer: .uniform(lower: -1, upper: 1))]
                        : []))
            return geometry.activation == .identity ? y : y.applying(ActivationOperation(geometry.activation))
        }
    }
}
