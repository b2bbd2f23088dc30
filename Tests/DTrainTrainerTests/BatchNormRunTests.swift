import DTrainCheckpoint
import DTrainEngine
import DTrainLayers
import DTrainTensor
import DTrainTrainer
import Foundation
import Testing

/// Batch normalisation and frozen layers in whole runs: over ranks, in checkpoints, on resume.
@Suite(.timeLimit(.minutes(5)))
struct BatchNormRunTests {
    private final class Network: Module {
        let conv1 = Conv2d(8, kernel: 5, stride: 2, bias: false)
        let bn1 = BatchNorm2d()
        let conv2 = Conv2d(12, kernel: 3, stride: 2, bias: false)
        let bn2 = BatchNorm2d()
        let fc = Linear(10)

        func callAsFunction(_ x: Value) -> Value {
            let h1 = relu(bn1(conv1(x)))
            return fc(flatten(relu(bn2(conv2(h1)))))
        }
    }

    private func run(
        _ directory: ScratchDirectory, ranks: Int, _ configure: (inout RunConfiguration) -> Void = { _ in }
    ) throws -> TestRun {
        var run = try TestRun(directory, ranks: ranks) {
            $0.steps = 20
            $0.learningRate = 0.05
            configure(&$0)
        }
        run.module = { Network() }
        return run
    }

    private func tensors(_ run: TestRun, step: Int) throws -> [String: NamedTensor] {
        let checkpoint = try Checkpoint(CheckpointStore(run.directory + "/checkpoints").path(step: step))
        let tensors = try SafetensorsFile(checkpoint.modelPath).tensors()
        return Dictionary(uniqueKeysWithValues: tensors.map { ($0.name, $0) })
    }

    @Test("Synchronised: 1, 2 and 4 ranks give the same curve and the same running statistics")
    func synchronised() throws {
        var curves: [[Double]] = []
        var variances: [[Float]] = []
        for ranks in [1, 2, 4] {
            let directory = ScratchDirectory()
            let run = try run(directory, ranks: ranks) { $0.synchronisesBatchNorm = true }
            try run.complete()
            curves.append(run.log.losses)
            let saved = try tensors(run, step: 20)
            variances.append(try #require(saved["bn2.running_var"]).array(of: Float.self))
            #expect(saved["bn1.num_batches_tracked"]?.array(of: Int64.self) == [20])
        }
        #expect(curves[0].last! < 0.9 * curves[0][0])
        expectSameCurve(curves[1], curves[0], relative: 1e-2)
        expectSameCurve(curves[2], curves[0], relative: 1e-2)
        for other in variances.dropFirst() {
            for (a, b) in zip(other, variances[0]) { #expect(abs(a - b) <= 1e-2 * abs(b)) }
        }
    }

    @Test("Each rank's own statistics differ from those of all, and the running ones are merged over ranks")
    func unsynchronised() throws {
        let (one, two) = (ScratchDirectory(), ScratchDirectory())
        let alone = try run(one, ranks: 1) { $0.steps = 1 }
        let pair = try run(two, ranks: 2) { $0.steps = 1 }
        try alone.complete()
        try pair.complete()
        // The first layer sees the same images either way, so what is merged is what one rank would have found.
        let (expected, merged) = (try tensors(alone, step: 1), try tensors(pair, step: 1))
        for name in ["bn1.running_mean", "bn1.running_var"] {
            let (a, b) = (merged[name]!.array(of: Float.self), expected[name]!.array(of: Float.self))
            for (x, y) in zip(a, b) { #expect(abs(x - y) <= 1e-5 * max(1, abs(y)), "\(name)") }
        }
        #expect(abs(pair.log.losses[0] - alone.log.losses[0]) > 1e-4)
    }

    @Test("Buffers are part of a checkpoint: 20 steps are 11 and 9, bit for bit, inline and dedicated")
    func resumes() throws {
        let whole = ScratchDirectory(), halves = ScratchDirectory(), dedicated = ScratchDirectory()
        let uninterrupted = try run(whole, ranks: 2) { $0.accumulate = 2 }
        try uninterrupted.complete()
        for directory in [halves, dedicated] {
            let isDedicated = directory === dedicated
            let ranks = isDedicated ? 3 : 2
            let configure: (inout RunConfiguration) -> Void = {
                $0.accumulate = 2
                if isDedicated { $0.coordinator = .dedicated }
            }
            try run(directory, ranks: ranks) {
                configure(&$0)
                $0.steps = 11
            }.complete()
            let second = try run(directory, ranks: ranks) {
                configure(&$0)
                $0.resume = .auto
            }
            try second.complete()
            #expect(try second.modelBytes(step: 20) == uninterrupted.modelBytes(step: 20))
        }
    }

    @Test("Frozen parameters keep their bits; the others move")
    func frozen() throws {
        let directory = ScratchDirectory()
        let run = try run(directory, ranks: 2) {
            $0.freeze = ["conv1.*", "bn1.*"]
            $0.checkpointEvery = 1
            $0.keep = 30
        }
        try run.complete()
        let (first, last) = (try tensors(run, step: 1), try tensors(run, step: 20))
        for name in ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"] {
            #expect(first[name]!.array(of: Float.self) == last[name]!.array(of: Float.self), "\(name)")
        }
        for name in ["conv2.weight", "bn2.running_mean", "fc.bias"] {
            #expect(first[name]!.array(of: Float.self) != last[name]!.array(of: Float.self), "\(name)")
        }
    }

    @Test("What cannot work is refused before the first step")
    func refusals() throws {
        func message(_ configure: (inout RunConfiguration) -> Void) throws -> String {
            let directory = ScratchDirectory()
            guard case .failure(let error) = try run(directory, ranks: 2, configure)()[1] else { return "" }
            return "\(error)"
        }
        #expect(
            try message { $0.freeze = ["conv1.*", "layer3.*"] }.contains("--freeze 'layer3.*' matches no parameter"))
        #expect(try message { $0.freeze = ["conv1"] }.contains("did you mean conv1.* or conv1.weight"))
        #expect(try message { $0.freeze = ["*"] }.contains("every parameter is frozen"))
        #expect(
            try message {
                $0.freeze = ["bn1.*", "bn2.*"]
                $0.synchronisesBatchNorm = true
            }.contains("--sync-batchnorm has no effect"))
    }

    @Test("One value a channel has no variance: refused, unless the ranks put theirs together")
    func oneSample() throws {
        final class Features: Module {
            let fc1 = Linear(6)
            let bn = BatchNorm1d()
            let fc2 = Linear(10)
            func callAsFunction(_ x: Value) -> Value { fc2(relu(bn(fc1(flatten(x))))) }
        }
        func outcome(_ synchronised: Bool) throws -> Result<TrainerOutcome, any Error> {
            let directory = ScratchDirectory()
            var run = try TestRun(directory, ranks: 2) {
                $0.batchSize = 2
                $0.synchronisesBatchNorm = synchronised
            }
            run.module = { Features() }
            return run()[0]
        }
        if case .failure(let error) = try outcome(false) {
            #expect("\(error)".contains("bn normalises over the samples of a shard, and there is only one"))
        } else {
            Issue.record("a shard of one sample was accepted")
        }
        #expect(throws: Never.self) { try outcome(true).get() }
    }
}
