import CAllocationCounter
import DTrainEngine
import DTrainLayers
import DTrainModels
import DTrainOptimizers
import DTrainTensor
import Testing

/// A step allocates nothing on the compute thread once the first is done: gradients, update, evaluation, whatever the
/// number of samples up to the capacity. What oneDNN allocates in its calls cannot be helped and does not count.
@Suite(.enabled(if: allocation_count() >= 0)) struct AllocationTests {
    init() { OneDNN.countAllocations { allocation_count() } }
    private var ownAllocations: Int { allocation_count() - OneDNN.allocationCount }

    @Test(arguments: ModelParityTests.models, 1...3)
    func stepsAllocateNothing(_ model: String, threads: Int) throws {
        let entry = try #require(ModelEntry.all.first { $0.name == model })
        try expectNoAllocations(entry.make(ModelOptions(classes: 10)), input: entry.input.shape, threads: threads)
    }

    /// Operations that the models above do not use.
    private final class Workshop: Module {
        let stem = Conv2d(32, kernel: 3, padding: 1)
        let spread = Conv2d(32, kernel: 3, stride: 2, padding: 1, groups: 32)
        let grouped = Conv2d(32, kernel: 3, padding: 1, groups: 4)
        let dilated = Conv2d(24, kernel: 3, padding: 2, dilation: 2)
        let up = ConvTranspose2d(16, kernel: 3, stride: 2, padding: 1, outputPadding: 1)
        let upGrouped = ConvTranspose2d(16, kernel: 2, stride: 2, groups: 4)
        let norms = [GroupNorm(4), GroupNorm(1)]
        let instance = InstanceNorm2d()
        let layers = [LayerNorm(), LayerNorm(over: .sample)]
        let head = Linear(10)

        func callAsFunction(_ x: Value) -> Value {
            let wide = localResponseNorm(relu(stem(x)), size: 5)
            let small = norms[0](grouped(maxPool(spread(wide), kernel: 3, stride: 2, ceilMode: true)))
            let gate = sigmoid(small)
            let gated = gate * instance(small) + (1 - gate) * small
            let larger = concatenate([layers[0](up(gated)), norms[1](upGrouped(gated))])
            let dense = dilated(averagePool(larger, kernel: 2, stride: 1, padding: 1, countsPadding: false))
            let joined = zeroPaddingShortcut(layers[1](dense), channels: 40, stride: 2)
            return head(softmax(flatten(adaptiveMaxPool(adaptiveAveragePool(joined, to: 3), to: 2))))
        }
    }

    @Test(arguments: 1...3)
    func otherOperationsAllocateNothing(threads: Int) throws {
        try expectNoAllocations(Workshop(), input: [14, 13, 3], threads: threads)
    }

    @Test(.enabled(if: Precision.bf16.obstacle == nil), arguments: 1...3)
    func bf16AllocatesNothing(threads: Int) throws {
        try expectNoAllocations(Workshop(), input: [14, 13, 3], threads: threads, precision: .bf16)
    }

    /// Batch-norms in convolutions whose products are kept or computed again, left to a reader, and in a dense block.
    private final class Normalised: Module {
        let stem = Conv2d(32, kernel: 3, padding: 1)
        let narrow = Conv2d(32, kernel: 1)
        let wide = Conv2d(32, kernel: 3, padding: 1)
        let last = Conv2d(32, kernel: 1)
        let dense = Conv2d(16, kernel: 1)
        let norms = (0..<6).map { _ in BatchNorm2d() }
        let head = Linear(10)

        func callAsFunction(_ x: Value) -> Value {
            let y = relu(norms[0](stem(x)))
            let z = relu(norms[2](wide(relu(norms[1](narrow(y))))) + y)
            let block = relu(norms[3](last(z)) + z)
            return head(flatten(relu(norms[5](concatenate([block, dense(relu(norms[4](block)))])))))
        }
    }

    @Test(arguments: 1...3, Precision.allCases.filter { $0.obstacle == nil })
    func batchNormsAllocateNothing(threads: Int, precision: Precision) throws {
        try expectNoAllocations(Normalised(), input: [9, 8, 3], threads: threads, precision: precision)
    }

    /// Recurrent layers of all kinds, over sequences of changing lengths.
    private final class Sequences: Module {
        let embedding = Embedding(12, paddingIndex: 0)
        let lstm = LSTM(20, layers: 2, dropout: 0.3, bidirectional: true)
        let norm = LayerNorm()
        let gru = GRU(24, carriesState: true)
        let rnn = RNN(16)
        let cell = GRUCell(16)
        let head = Linear(10)

        func callAsFunction(_ x: Value) -> Value {
            let y = softmax(rnn(gru(norm(lstm(embedding(x))))))
            let first = cell(step(y, 0))
            return head(stack([first] + (1..<x.longest).map { cell(step(y, $0), first) }))
        }
    }

    @Test(arguments: 1...3, Precision.allCases)
    func sequencesAllocateNothing(threads: Int, precision: Precision) throws {
        let (capacity, longest) = (9, 7)
        let pool = ThreadPool(threadCount: threads)
        let replica = try Replica(
            Sequences(), input: .tokens(vocabulary: 11, longest: longest), classes: 10, capacity: capacity, pool: pool,
            precision: precision)
        replica.initialize(seed: 1)
        let memory = AlignedMemory(byteCount: 4 * capacity * (longest + 3))
        let words: MemorySlice<Int32> = memory.slice()
        let context = LoneStep()
        func run(rows: Int, shortest: Int) {
            let (lengths, positions) = (words[0..<rows], words[capacity..<capacity + rows])
            var count = 0
            for row in 0..<rows {
                lengths[row] = Int32(max(shortest, longest - row))
                positions[row] = Int32(row)
                count += Int(lengths[row])
            }
            let labels = words[2 * capacity..<2 * capacity + count]
            let samples = Replica.Samples(
                inputs: .tokens(labels, PackedSequences(lengths: lengths, positions: positions)), labels: labels)
            _ = replica.computeGradients(samples, context: context)
            _ = replica.evaluate(samples)
        }
        run(rows: capacity, shortest: longest)
        let before = ownAllocations
        for (rows, shortest) in [(9, 1), (4, 0), (1, 3), (9, 7)] { run(rows: rows, shortest: shortest) }
        #expect(ownAllocations == before)
        withExtendedLifetime(memory) {}
    }

    private func expectNoAllocations(
        _ model: any Module, input: Shape, threads: Int, precision: Precision = .fp32
    ) throws {
        let capacity = 64
        let pool = ThreadPool(threadCount: threads)
        let replica = try Replica(
            model, input: input, classes: 10, capacity: capacity, pool: pool, precision: precision)
        replica.initialize(seed: 1)
        let optimizer = try Optimizer(.sgd(momentum: 0.9, weightDecay: 1e-4), layout: replica.layout)
        let memory = (
            inputs: AlignedMemory(byteCount: capacity * input.count * 4),
            labels: AlignedMemory(byteCount: capacity * 4)
        )
        let inputs: MemorySlice<Float> = memory.inputs.slice()
        let labels: MemorySlice<Int32> = memory.labels.slice()
        let context = LoneStep()
        func step(_ number: Int, rows: Int) {
            let samples = Replica.Samples(
                inputs: inputs[0..<rows * input.count], labels: labels[0..<rows], step: number)
            _ = replica.computeGradients(samples, context: context)
            optimizer.update(
                parameters: replica.parameters, gradients: replica.gradients, rate: 0.01,
                gradientScale: 1 / Double(rows), step: number, pool: pool)
            _ = replica.evaluate(samples)
        }
        step(0, rows: capacity)
        let before = ownAllocations
        for (number, rows) in zip(1..., sizes) { step(number, rows: rows) }
        #expect(ownAllocations == before)
        withExtendedLifetime(memory) {}
    }

    private let sizes = [64, 64, 33, 8, 7, 1, 64]
}
