import DTrainOptimizers
import DTrainTensor

/// One parameter of eleven elements, started and pulled by the numbers that `Fixtures/generate.py` uses.
struct Problem {
    static let count = 11
    static let samples = 12.0
    let layout = ParameterLayout(trainable: [("p", [count], .plain)])
    let memory: AlignedMemory
    let gradientMemory: AlignedMemory
    var parameters: MemorySlice<Float> { memory.slice() }
    var gradients: MemorySlice<Float> { gradientMemory.slice() }

    init() {
        memory = AlignedMemory(byteCount: layout.trainableCount * 4)
        gradientMemory = AlignedMemory(byteCount: layout.trainableCount * 4)
        for i in 0..<Self.count { parameters[i] = Float(i * 37 % 101 - 50) / 64 }
    }

    func rate(_ step: Int) -> Double { 0.05 / (1 + 0.5 * Double(step)) }

    func setGradients(_ step: Int) {
        for i in 0..<Self.count { gradients[i] = Float((i * 53 + step * 29) % 97 - 48) / 8 }
    }

    var values: [Float] { Array(parameters.array()[0..<Self.count]) }

    /// Ten updates; returns the optimizer.
    func run(_ configuration: OptimizerConfiguration, averaging: WeightAveraging? = nil) throws -> Optimizer {
        let optimizer = try Optimizer(configuration, averaging: averaging, layout: layout)
        for step in 0..<10 {
            setGradients(step)
            optimizer.update(
                0..<layout.trainableCount, parameters: parameters, gradients: gradients, rate: rate(step),
                gradientScale: 1 / Self.samples, step: step)
        }
        return optimizer
    }
}
