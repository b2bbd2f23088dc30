import DTrainEngine
import DTrainModels
import DTrainTensor
import Testing

/// First values follow torchvision's constructors: for every tensor the mean, the deviation, and whether the distribution is
/// normal or uniform.
@Suite struct InitialisationTests {
    private enum Expected {
        case constant(Double)
        case normal(Double)
        /// Uniform in ± the bound.
        case uniform(Double)
    }

    private struct Tensor {
        let name: String
        let shape: Shape
        var isConvolution: Bool { shape.rank == 4 }
        var isLinear: Bool { shape.rank == 2 }
        var fanIn: Double { Double(shape.dimensions.dropFirst().reduce(1, *)) }
        var fanOut: Double { Double(shape[0] * shape.dimensions.dropFirst(2).reduce(1, *)) }
    }

    /// What torchvision does; `weight` is the tensor itself, or the weight that a bias belongs to.
    private static func expected(_ model: String, _ name: String, _ weight: Tensor) -> Expected {
        if name.hasSuffix("running_mean") { return .constant(0) }
        if name.hasSuffix("running_var") { return .constant(1) }
        let isBias = name.hasSuffix("bias")
        if weight.shape.rank == 1 { return .constant(isBias ? 0 : 1) }
        let standard = Expected.uniform((1 / weight.fanIn).squareRoot())
        switch model {
        case "vgg11_bn":
            if isBias { return .constant(0) }
            return .normal(weight.isConvolution ? (2 / weight.fanOut).squareRoot() : 0.01)
        case "googlenet": return isBias ? standard : .normal(0.01)
        case "densenet121":
            if isBias { return .constant(0) }
            return weight.isConvolution ? .normal((2 / weight.fanIn).squareRoot()) : standard
        case "alexnet": return standard
        default: return weight.isConvolution ? .normal((2 / weight.fanOut).squareRoot()) : standard
        }
    }

    @Test(arguments: ["alexnet", "vgg11_bn", "googlenet", "resnet18", "resnext50_32x4d", "densenet121", "resnet20"])
    func valuesFollowTorchvision(_ model: String) throws {
        let entry = try #require(ModelEntry.all.first { $0.name == model })
        let graph = try Graph.trace(
            entry.make(ModelOptions(classes: entry.classes)), input: entry.input, TraceOptions(.training))
        let shapes = Dictionary(uniqueKeysWithValues: graph.parameters.map { ($0.name, $0.shape) })
        for parameter in graph.parameters where parameter.dtype == .float32 {
            // Of the largest matrices some rows: their deviation does not depend on the number of rows.
            let shape =
                parameter.shape.rank == 2
                ? [min(parameter.shape[0], 32), parameter.shape[1]] : parameter.shape
            let value = parameter.initializer.values(name: parameter.name, shape: shape, seed: 5)
            let values = (0..<shape.count).map { Double(value($0)) }
            let ownWeight = parameter.name.hasSuffix("bias") ? String(parameter.name.dropLast(4)) + "weight" : nil
            let weight = Tensor(
                name: parameter.name, shape: ownWeight.flatMap { shapes[$0] } ?? parameter.shape)
            check(values, Self.expected(model, parameter.name, weight), "\(model) \(parameter.name)")
        }
    }

    private func check(_ values: [Double], _ expected: Expected, _ what: String) {
        let count = Double(values.count)
        let mean = values.reduce(0, +) / count
        let deviation = (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count).squareRoot()
        let largest = values.reduce(0) { max($0, abs($1)) }
        switch expected {
        case .constant(let value): #expect(values.allSatisfy { $0 == value }, "\(what)")
        // Six standard errors; a uniform distribution's deviation has a smaller one than a normal one's.
        case .normal(let sigma):
            #expect(abs(mean) < 6 * sigma / count.squareRoot(), "\(what): mean \(mean)")
            #expect(
                abs(deviation / sigma - 1) < 6 / (2 * count).squareRoot(), "\(what): \(deviation), expected \(sigma)")
            #expect(largest > 2.5 * sigma, "\(what): not normal")
        case .uniform(let bound):
            let sigma = bound / 3.0.squareRoot()
            #expect(abs(mean) < 6 * sigma / count.squareRoot(), "\(what): mean \(mean)")
            #expect(
                abs(deviation / sigma - 1) < 6 / (2 * count).squareRoot(), "\(what): \(deviation), expected \(sigma)")
            #expect(largest <= bound * (1 + 1e-6), "\(what): not uniform")
        }
    }
}
