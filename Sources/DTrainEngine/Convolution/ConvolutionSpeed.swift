package import DTrainTensor

/// How fast the three products of a convolution are on one thread, weights brought into order included, in GFLOP/s: what
/// the rules that choose among the ways are derived from.
package struct ConvolutionSpeed {
    package let forward: Double
    package let weightGradient: Double
    package let inputGradient: Double

    /// Times each product on `samples` random images of shape `input`, the fastest of several runs that take `seconds`
    /// together, and at least three. In bf16 images and gradients are stored so, where all three passes take that.
    package init(
        _ operation: Convolution, input: Shape, samples: Int, precision: Precision = .fp32, seconds: Double,
        clock: () -> Double
    ) throws {
        let output = try operation.outputShape([input])
        let geometry = ConvolutionGeometry(operation, input: input, output: output)
        let (passes, element) = try operation.passes(input: input, samples: samples, precision: precision)
        // Kernels read whole vectors beyond the end.
        func floats(_ count: Int) -> AlignedMemory { AlignedMemory(byteCount: 4 * (count + 64)) }
        let scratch = floats(
            [passes.forward.memory, passes.weightGradient.memory, passes.inputGradient.memory]
                .map { $0.total(threads: 1) }.max()!)
        let memories = [samples * input.count, samples * output.count, geometry.weightCount, geometry.weightCount]
            .map(floats)
        let pointers = memories.map { $0.base.assumingMemoryBound(to: Float.self) }
        let random = CounterRandom(seed: 1, purpose: .synthetic)
        for (pointer, memory) in zip(pointers, memories) {
            for index in 0..<memory.byteCount / 4 { pointer[index] = random.uniform(UInt64(index)) - 0.5 }
        }
        if element == .bf16 {
            for (pointer, count) in zip(pointers, [samples * input.count, samples * output.count]) {
                let halves = Elements(pointer, .bf16).halves
                for index in 0..<count {
                    halves[index] = UInt16((random.uniform(UInt64(index)) - 0.5).bitPattern >> 16)
                }
            }
        }
        let (x, y) = (Elements(pointers[0], element), Elements(pointers[1], element))
        let (weights, gradient) = (pointers[2], pointers[3])
        let base = scratch.base.assumingMemoryBound(to: Float.self)
        let run = Run(
            thread: 0, pool: ThreadPool(threadCount: 1), arena: base, parameters: weights, gradients: gradient,
            statistics: scratch.base.assumingMemoryBound(to: Double.self))
        run.rows = samples
        let operations =
            2 * Double(samples) * Double(operation.multiplyAdds(inputs: [input], output: output)) / 1e9
        GEMM.prepare

        func speed(_ body: () -> Void) -> Double {
            body()
            var (best, spent, runs) = (Double.infinity, 0.0, 0)
            while spent < seconds || runs < 3 {
                let start = clock()
                body()
                let time = clock() - start
                (best, spent, runs) = (min(best, time), spent + time, runs + 1)
            }
            return operations / best
        }
        let blocks = Swift.stride(from: 0, to: samples, by: passes.blockSamples).map {
            $0..<min($0 + passes.blockSamples, samples)
        }
        let stride = geometry.outputs
        let forwardScratch = PassScratch(base, passes.forward.memory, thread: 0)
        forward = speed {
            passes.forward.prepare(run, weights: weights, scratch: forwardScratch)
            passes.forward.forward(
                x, weights: weights, bias: nil, into: y, stride: stride, accumulate: false,
                lines: 0..<samples * geometry.window.output_height, scratch: forwardScratch
            ) { _ in }
        }
        let weightScratch = PassScratch(base, passes.weightGradient.memory, thread: 0)
        weightGradient = speed {
            passes.weightGradient.begin(weightScratch)
            for block in blocks {
                passes.weightGradient.add(
                    x, y, stride: stride, lines: block.scaled(by: geometry.window.output_height), scratch: weightScratch
                )
            }
            passes.weightGradient.finish(run, active: 1, into: gradient, accumulate: false, scratch: weightScratch)
        }
        let inputScratch = PassScratch(base, passes.inputGradient.memory, thread: 0)
        inputGradient = speed {
            passes.inputGradient.prepare(run, weights: weights, scratch: inputScratch)
            for block in blocks {
                passes.inputGradient.propagate(
                    y, stride: stride, weights: weights, into: x, accumulate: false,
                    lines: block.scaled(by: geometry.window.height), scratch: inputScratch)
            }
        }
        withExtendedLifetime((memories, scratch)) {}
    }
}

extension Convolution {
    /// The ways in which the three products are computed in a plan, such as `OneDNNForward`, `WinogradWeightGradient` and
    /// `PointwiseInputGradient`: what the rules have chosen.
    package func ways(
        input: Shape, samples: Int, threads: Int = 1, precision: Precision = .fp32, trains: Bool = true
    ) throws -> [String] {
        let passes = try passes(
            input: input, samples: samples, threads: threads, precision: precision, trains: trains
        ).passes
        return ([passes.forward, passes.weightGradient, passes.inputGradient] as [any ConvolutionPass]).map {
            "\(type(of: $0))"
        }
    }
}
