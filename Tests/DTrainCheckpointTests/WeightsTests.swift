import DTrainCheckpoint
import DTrainTensor
import Foundation
import TestSupport
import Testing

/// A model of one convolution, batch normalisation and a head, as `loadWeights` sees it. Its values start at −1.
private final class Model {
    let parameters: NamedArena
    let buffers: NamedArena
    private let memories: [AlignedMemory]
    let counter: MemorySlice<Int64>

    init(classes: Int = 4) {
        let layout = ParameterLayout(trainable: [
            ("3.bias", [classes], .plain), ("3.weight", [classes, 12], .plain), ("1.weight", [3], .plain),
            ("1.bias", [3], .plain), ("0.bias", [3], .plain),
            ("0.weight", [3, 2, 3, 3], .convolution(outputs: 3, inputs: 2, height: 3, width: 3)),
        ])
        let statistics = ParameterLayout(trainable: [("1.running_mean", [3], .plain), ("1.running_var", [3], .plain)])
        memories = [layout.totalCount * 4, statistics.totalCount * 4, 8].map { AlignedMemory(byteCount: $0) }
        parameters = NamedArena(layout, memories[0].slice())
        buffers = NamedArena(statistics, memories[1].slice())
        counter = memories[2].slice()
        parameters.memory.fill(-1)
        buffers.memory.fill(-1)
        counter[0] = -1
    }

    var targets: [WeightsTarget] {
        parameters.targets + buffers.targets + [WeightsTarget(counter: "1.num_batches_tracked", counter)]
    }

    func values(_ name: String) -> [Float]? {
        (parameters.tensors() + buffers.tensors()).first { $0.name == name }?.array(of: Float.self)
    }

    var isUntouched: Bool {
        parameters.memory.array().allSatisfy { $0 == -1 } && buffers.memory.array().allSatisfy { $0 == -1 }
            && counter[0] == -1
    }
}

private func oracle(_ name: String) throws -> [Float] {
    try SafetensorsFile(torchFixture("nested.safetensors")).tensor(name).array(of: Float.self)
}

/// Writes the fixture's tensors, changed, to a safetensors file in `scratch`.
private func write(_ scratch: ScratchDirectory, _ change: (inout [NamedTensor]) -> Void) throws -> String {
    var tensors = try SafetensorsFile(torchFixture("nested.safetensors")).tensors()
    change(&tensors)
    let path = scratch.path + "/weights.safetensors"
    try SafetensorsFile.write(tensors, to: path)
    return path
}

@Suite struct WeightsTests {
    @Test(arguments: ["nested.pth", "nested-legacy.pth", "protocol4.pth", "nested.safetensors"])
    func everyTensorReachesItsPlace(name: String) throws {
        let model = Model()
        let report = try loadWeights(torchFixture(name), into: model.targets, policy: .exact)
        for target in model.targets where target.type == .float32 {
            #expect(try model.values(target.name) == oracle(target.name), "\(target.name)")
        }
        #expect(model.counter[0] == 1)
        #expect(report.loaded == model.targets.map(\.name))
        #expect(report.reinitialised.isEmpty && report.skipped.isEmpty && report.lacking.isEmpty)
        #expect(report.description == "loaded 9 tensors from \(torchFixture(name))")
    }

    @Test func aCheckpointsDirectoryIsItsModelFile() throws {
        let scratch = try ScratchDirectory()
        try FileManager.default.copyItem(
            atPath: torchFixture("nested.safetensors"), toPath: scratch.path + "/model.safetensors")
        let model = Model()
        let report = try loadWeights(scratch.path, into: model.targets, policy: .exact)
        #expect(report.path == scratch.path + "/model.safetensors" && report.loaded.count == 9)
        let empty = try ScratchDirectory()
        #expect(throws: CheckpointError.notACheckpoint(path: empty.path, reason: "it holds no model.safetensors")) {
            try WeightsFile(empty.path)
        }
    }

    @Test func theContentDecidesNotTheName() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/weights.safetensors"
        try FileManager.default.copyItem(atPath: torchFixture("nested-legacy.pth"), toPath: path)
        #expect(try WeightsFile(path).names.count == 9)
        for (content, reason) in [
            ("", "it is empty"), ("<!DOCTYPE html><html>", "it is a web page"), ("version https://git-lfs", "Git LFS"),
            ("\u{4}", "truncated"), ("\u{80}", "not a valid safetensors"),
        ] {
            try Data(content.utf8).write(to: URL(fileURLWithPath: path))
            let error = #expect(throws: CheckpointError.self) { try WeightsFile(path) }
            #expect(error.map { "\($0)" }?.contains(reason) ?? false, "\(String(describing: error))")
        }
        try Data([0x80, 4, 0x7D, 0x2E]).write(to: URL(fileURLWithPath: path))
        #expect(throws: CheckpointError.notWeights(path: path, reason: "it is a pickle that torch.save did not write"))
        {
            try WeightsFile(path)
        }
    }

    @Test func aHeadOfOtherClassesIsLeftAsItIs() throws {
        let model = Model(classes: 10)
        let policy = WeightsPolicy(isHead: { $0.hasPrefix("3.") }, classesDiffer: true)
        let report = try loadWeights(torchFixture("nested.pth"), into: model.targets, policy: policy)
        #expect(model.values("3.weight") == [Float](repeating: -1, count: 120))
        #expect(model.values("3.bias") == [Float](repeating: -1, count: 10))
        #expect(try model.values("0.weight") == oracle("0.weight"))
        #expect(report.reinitialised == ["3.bias", "3.weight"])
        #expect(report.classes == WeightsReport.Classes(file: 4, model: 10))
        #expect(
            report.description == "loaded 7 tensors from \(torchFixture("nested.pth")); "
                + "re-initialised 3.bias, 3.weight (4 → 10 classes)")
    }

    @Test func aHeadWhoseBiasAloneFitsIsLeftAsAWhole() throws {
        let scratch = try ScratchDirectory()
        let path = try write(scratch) { tensors in
            tensors.removeAll { $0.name == "3.weight" }
            tensors.append(NamedTensor(name: "3.weight", dtype: .float32, shape: [4, 7]))
        }
        let model = Model()
        let policy = WeightsPolicy(isHead: { $0.hasPrefix("3.") }, classesDiffer: true)
        let report = try loadWeights(path, into: model.targets, policy: policy)
        #expect(report.reinitialised == ["3.bias", "3.weight"] && report.classes == nil)
        #expect(model.values("3.bias") == [-1, -1, -1, -1])
    }

    @Test func anotherHeadIsAnErrorUnlessTheClassesDiffer() throws {
        let model = Model(classes: 10)
        let error = #expect(throws: CheckpointError.self) {
            try loadWeights(
                torchFixture("nested.pth"), into: model.targets, policy: WeightsPolicy(isHead: { $0.hasPrefix("3.") }))
        }
        guard case .mismatch(_, let mismatch) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(
            mismatch.description
                == "misshapen: 3.bias is 4 F32, needs 10 F32; 3.weight is 4×12 F32, needs 10×12 F32"
                .replacingOccurrences(of: "; 3", with: ", 3"))
        #expect(model.isUntouched)
    }

    @Test func everyDifferenceIsListedAndNothingIsChanged() throws {
        let scratch = try ScratchDirectory()
        let path = try write(scratch) { tensors in
            tensors.removeAll { ["0.bias", "1.running_var", "1.num_batches_tracked"].contains($0.name) }
            tensors.append(NamedTensor(name: "1.num_batches_tracked", dtype: .float32, shape: []))
            tensors.append(NamedTensor(name: "1.running_var", dtype: .float32, shape: [4]))
            tensors.append(NamedTensor(name: "aux1.weight", dtype: .float32, shape: [4]))
        }
        let model = Model()
        let policy = WeightsPolicy(maySkip: { $0.hasPrefix("aux2.") })
        let error = #expect(throws: CheckpointError.self) { try loadWeights(path, into: model.targets, policy: policy) }
        guard case .mismatch(path, let mismatch) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(mismatch.missing == ["0.bias"])
        #expect(mismatch.unexpected == ["aux1.weight"])
        #expect(
            mismatch.misshapen == [
                TensorMismatch.Misshapen(name: "1.running_var", expected: [3], found: [4], type: .float32),
                TensorMismatch.Misshapen(
                    name: "1.num_batches_tracked", expected: [], expectedType: .int64, found: [], type: .float32),
            ])
        #expect(mismatch.description.hasSuffix("1.num_batches_tracked is scalar F32, needs scalar I64"))
        #expect(model.isUntouched)
    }

    @Test func namesTheModelLacksAreSkippedWhereAllowed() throws {
        let scratch = try ScratchDirectory()
        let path = try write(scratch) { tensors in
            for name in ["aux1.conv.weight", "aux1.fc.bias", "aux2.fc.bias", "0.extra", "1.more.num_batches_tracked"] {
                tensors.append(NamedTensor(name: name, dtype: .float32, shape: [1]))
            }
        }
        let model = Model()
        let report = try loadWeights(
            path, into: model.targets.filter { $0.type == .float32 },
            policy: WeightsPolicy(maySkip: {
                $0.hasPrefix("aux") || $0 == "0.extra" || WeightsPolicy.isBatchCounter($0)
            }))
        #expect(model.counter[0] == -1)
        #expect(
            report.description
                == "loaded 8 tensors from \(path); skipped *.num_batches_tracked (2), aux1.* (2), aux2.fc.bias, 0.extra"
        )
    }

    @Test func oldFilesWithoutCountersLoad() throws {
        let scratch = try ScratchDirectory()
        let path = try write(scratch) { $0.removeAll { $0.name.hasSuffix("num_batches_tracked") } }
        let model = Model()
        model.counter[0] = 0
        let report = try loadWeights(path, into: model.targets, policy: WeightsPolicy())
        #expect(model.counter[0] == 0)
        #expect(report.lacking == ["1.num_batches_tracked"] && report.loaded.count == 8)
        #expect(report.description.hasSuffix("; the file lacks 1.num_batches_tracked"))
        #expect(throws: CheckpointError.self) { try loadWeights(path, into: model.targets, policy: .exact) }
    }

    @Test func theFirstNamesOfDenseNetAreTranslated() throws {
        let dense = "features.denseblock1.denselayer1."
        #expect(WeightsPolicy.currentName(of: dense + "norm.1.weight") == dense + "norm1.weight")
        #expect(WeightsPolicy.currentName(of: dense + "conv.2.weight") == dense + "conv2.weight")
        for name in [dense + "norm1.weight", dense + "norm.3.weight", "layer1.conv.1.weight", "norm.1.weight"] {
            #expect(WeightsPolicy.currentName(of: name) == name)
        }
        let layout = ParameterLayout(trainable: [
            (dense + "norm1.weight", [3], .plain), (dense + "conv1.weight", [2, 3], .plain),
        ])
        let memory = AlignedMemory(byteCount: layout.totalCount * 4)
        let count = AlignedMemory(byteCount: 32)
        let counts = count.slice(of: Int64.self)
        let targets =
            NamedArena(layout, memory.slice()).targets + [
                WeightsTarget(name: "count", shape: [4], type: .int64) { counts.copy(from: $0.memory.slice()[0..<4]) }
            ]
        try loadWeights(torchFixture("pytorch-0.3.pth"), into: targets, policy: .exact)
        #expect(memory.slice(of: Float.self)[0..<3].array() == [2, 3, 4])
        #expect(memory.slice(of: Float.self)[16..<22].array() == [6, 8, 10, 7, 9, 11])
        #expect(counts.array() == [0, 1, 2, 3])
    }

    @Test func otherTypesBecomeTheTargets() throws {
        let layout = ParameterLayout(trainable: [("f64", [2], .plain), ("f16", [5], .plain), ("bf16", [2, 2], .plain)])
        let memory = AlignedMemory(byteCount: layout.totalCount * 4)
        let number = AlignedMemory(byteCount: 16)
        let numbers = number.slice(of: Int64.self)
        let targets =
            NamedArena(layout, memory.slice()).targets + [
                WeightsTarget(name: "i32", shape: [2, 1], type: .int64) { numbers.copy(from: $0.memory.slice()[0..<2]) }
            ]
        try loadWeights(torchFixture("types.pth"), into: targets, policy: WeightsPolicy(maySkip: { _ in true }))
        let floats = memory.slice(of: Float.self)
        #expect(floats[0..<2].array() == [0.1, -.infinity])
        #expect(floats[16..<21].array() == [1.5, 0, 65504, 0x1p-24, .infinity])
        #expect(floats[32..<34].array() == [1.5, -3])
        #expect(numbers.array() == [3, Int64(Int32.min)])
    }
}
