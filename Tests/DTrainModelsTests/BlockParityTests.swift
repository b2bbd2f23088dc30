import DTrainEngine
import DTrainLayers
import DTrainModels
import DTrainTensor
import TestSupport
import Testing

/// torchvision's blocks in training mode: logits, loss, every gradient, running statistics after the step.
/// `Fixtures/make_blocks.py` describes them.
@Suite struct BlockParityTests {
    private static let batch = 4
    private static let classes = 5

    enum Block: String, CaseIterable, Sendable {
        case basic, bottleneck, grouped, dense, inception
        case vggWithBatchNorm = "vgg-bn"
    }

    private static func make(_ block: Block) -> any Module {
        switch block {
        case .basic: Sequential(BasicBlock(16, stride: 2, projects: true), BasicBlock(16))
        case .bottleneck: Sequential(Bottleneck(4, stride: 2, projects: true), Bottleneck(4))
        case .grouped:
            Sequential(
                Bottleneck(4, stride: 2, projects: true, middle: 16, groups: 4), Bottleneck(4, middle: 16, groups: 4))
        case .dense: Dense()
        case .inception: Inception(4, 6, 8, 3, 5, pool: 4)
        case .vggWithBatchNorm:
            vggFeatures([(channels: 12, convolutions: 1), (channels: 16, convolutions: 2)], batchNorm: true)
        }
    }

    private final class Dense: Module {
        let block = DenseBlock(layers: 3, growth: 4)
        let transition = DenseTransition(channels: 10)
        func callAsFunction(_ x: Value) -> Value { transition(block(x)) }
    }

    /// A block between a convolution, whose gradient is made of the block's input gradient, and a linear layer.
    private final class Surrounded: Module {
        let stem = Conv2d(8, kernel: 1, bias: false)
        let block: any Module
        let fc = Linear(BlockParityTests.classes)
        init(_ block: any Module) { self.block = block }
        func callAsFunction(_ x: Value) -> Value { fc(flatten(block(stem(x)))) }
    }

    @Test(
        arguments: Block.allCases,
        [(1, .byRule), (2, .byRule), (1, .oneDNN), (1, .unfolded)] as [(Int, ConvolutionMethod)])
    func gradientsMatchTorchvision(_ block: Block, _ setting: (threads: Int, method: ConvolutionMethod)) throws {
        let name = block.rawValue
        let fixture = try Fixture("blocks")
        let first = Int(try fixture("\(name).first")[0])
        let run = try ModelRun(
            Surrounded(Self.make(block)), inputs: Formula.images(Self.batch, [11, 11, 3], first: first),
            labels: Formula.labels(Self.batch, classes: Self.classes, first: first), threads: setting.threads,
            method: setting.method)
        Formula.fill(run.replica)
        let loss = run.computeGradients()
        let logits = try fixture("\(name).logits")
        expectClose(run.trainingLogits, logits, tolerance: 1e-4, "\(name)'s logits")
        expectClose([loss], try fixture("\(name).loss"), tolerance: 1e-4, "\(name)'s loss")

        let gradients = fixture.all("\(name).gradient.")
        #expect(Set(run.trainable.map(\.name)) == Set(gradients.keys))
        let floor = gradients.values.joined().reduce(0) { max($0, abs($1)) } / 1000
        for segment in run.trainable {
            expectClose(
                run.gradient(segment), try #require(gradients[segment.name]), tolerance: 1e-4, scale: floor,
                "\(name): gradient of \(segment.name)")
        }

        run.replica.updateRunningStatistics(with: run.replica.statistics)
        let buffers = run.replica.layout.segments.filter { $0.role == .buffer && $0.dtype == .float32 }
        let expected = fixture.all("\(name).buffer.")
        #expect(Set(buffers.map(\.name)) == Set(expected.keys))
        for buffer in buffers {
            expectClose(
                buffer.tensor(from: run.replica.parameters).array(of: Float.self), try #require(expected[buffer.name]),
                tolerance: 1e-4, "\(name): \(buffer.name)")
        }
    }
}
