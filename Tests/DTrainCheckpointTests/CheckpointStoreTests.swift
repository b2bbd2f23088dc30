import DTrainCheckpoint
import DTrainDigest
import DTrainTensor
import Foundation
import StoreSamples
import TestSupport
import Testing

private let files = ["model.safetensors", "optimizer.safetensors", "state.json"]

/// A store of its own with the sample checkpoints of `steps`.
struct SampleStore {
    let scratch: ScratchDirectory
    let store: CheckpointStore

    init(steps: [Int]) throws {
        scratch = try ScratchDirectory()
        store = CheckpointStore(scratch.path + "/run/checkpoints")
        try store.prepare()
        for step in steps { try SampleCheckpoint(step: step).save(in: store) }
    }

    var names: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: store.directory).sorted() }
    }

    func url(_ step: Int, _ file: String) -> URL { URL(fileURLWithPath: store.path(step: step) + "/" + file) }
}

@Suite struct CheckpointStoreTests {
    @Test func whatIsSavedComesBack() throws {
        let sample = try SampleStore(steps: [])
        let checkpoint = SampleCheckpoint(step: 100, best: BestMetric(name: "top1", value: 0.1 + 0.2, step: 50))
        let saved = try checkpoint.save(in: sample.store)
        #expect(saved.path.hasSuffix("/checkpoints/step-00000100"))
        #expect(try checkpoint.equals(Checkpoint(saved.path)))
        let found = try sample.store.newestValid()
        #expect(found.checkpoint?.state.seed == UInt64.max - 100)
        #expect(found.skipped.isEmpty)
        let sizes = try files.map { try Data(contentsOf: sample.url(100, $0)).count }
        #expect(saved.byteCount == sizes.reduce(0, +))
        #expect(try sample.names == ["step-00000100"])
    }

    @Test func stateIsPlainJSONWithDigestsThatSha256sumWouldPrint() throws {
        let sample = try SampleStore(steps: [100])
        let json = try JSONSerialization.jsonObject(with: Data(contentsOf: sample.url(100, "state.json")))
        let object = try #require(json as? [String: Any])
        #expect(object["format"] as? String == "dtrain-checkpoint")
        #expect(object["format_version"] as? Int == 1)
        #expect(object["step"] as? Int == 100)
        #expect(object["samples_in_epoch"] as? Int == 0)
        let records = try #require(object["files"] as? [String: [String: Any]])
        #expect(records.count == 2)
        for (name, record) in records {
            let content = try Data(contentsOf: sample.url(100, name))
            #expect(record["bytes"] as? Int == content.count)
            #expect(record["sha256"] as? String == Digest.of(content, .sha256))
        }
    }

    @Test func anOlderOneOfTheSameStepIsReplaced() throws {
        let sample = try SampleStore(steps: [100])
        let second = SampleCheckpoint(step: 100, best: BestMetric(name: "loss", value: 2, step: 100))
        try second.save(in: sample.store)
        #expect(try second.equals(Checkpoint(sample.store.path(step: 100))))
        #expect(try sample.names == ["step-00000100"])
    }

    @Test func prepareClearsUpAfterADeath() throws {
        let sample = try SampleStore(steps: [100, 200])
        let manager = FileManager.default
        let directory = sample.store.directory
        try manager.createDirectory(atPath: directory + "/.tmp-step-00000300/deep", withIntermediateDirectories: true)
        try Data([1]).write(to: URL(fileURLWithPath: directory + "/.tmp-step-00000300/deep/model.safetensors"))
        try manager.moveItem(atPath: sample.store.path(step: 200), toPath: directory + "/.old-step-00000200")
        try manager.copyItem(atPath: sample.store.path(step: 100), toPath: directory + "/.old-step-00000100")
        #expect(try sample.store.newestValid().checkpoint?.state.step == 200, "moved aside, and nothing in its place")
        try sample.store.prepare()
        #expect(try sample.names == ["step-00000100", "step-00000200"])
        #expect(try SampleCheckpoint(step: 200).equals(Checkpoint(sample.store.path(step: 200))))
    }

    @Test func anEmptyDirectoryHasNoCheckpoint() throws {
        let sample = try SampleStore(steps: [])
        #expect(try sample.store.newestValid().checkpoint == nil)
        #expect(try CheckpointStore(sample.scratch.path + "/nowhere").newestValid().checkpoint == nil)
    }

    @Test func newestValidNamesWhatItSkipped() throws {
        let sample = try SampleStore(steps: [100, 200, 300, 1000])
        try Data("{".utf8).write(to: sample.url(1000, "state.json"))
        try FileManager.default.removeItem(at: sample.url(300, "model.safetensors"))
        let (checkpoint, skipped) = try sample.store.newestValid()
        #expect(checkpoint?.state.step == 200)
        #expect(skipped.map(\.path) == [1000, 300].map { sample.store.path(step: $0) })
        #expect(skipped[1].reason == .missingFile(path: sample.url(300, "model.safetensors").path))
    }

    @Test func whereAllAreDamagedTheErrorListsThem() throws {
        let sample = try SampleStore(steps: [100, 200])
        for step in [100, 200] { try FileManager.default.removeItem(at: sample.url(step, "optimizer.safetensors")) }
        let skipped = [200, 100].map {
            SkippedCheckpoint(
                path: sample.store.path(step: $0),
                reason: .missingFile(path: sample.url($0, "optimizer.safetensors").path))
        }
        #expect(throws: CheckpointError.noValidCheckpoint(directory: sample.store.directory, skipped: skipped)) {
            try sample.store.newestValid()
        }
    }

    @Test func stepsOfAnyLengthSortByNumber() throws {
        let sample = try SampleStore(steps: [0, 99_999_999, 100_000_000])
        #expect(try sample.store.steps() == [0, 99_999_999, 100_000_000])
        #expect(try sample.names.last == "step-99999999")
        #expect(try sample.store.newestValid().checkpoint?.state.step == 100_000_000)
    }
}

@Suite struct DamagedCheckpointTests {
    @Test func aFlippedBitInAnyByteOfAnyFileIsFound() throws {
        let sample = try SampleStore(steps: [100])
        for file in files {
            let url = sample.url(100, file)
            let original = try Data(contentsOf: url)
            for index in original.indices {
                var damaged = original
                damaged[index] ^= 1 << UInt8(index % 8)
                try damaged.write(to: url)
                let error = #expect(throws: CheckpointError.self, "\(file), byte \(index)") {
                    try Checkpoint(sample.store.path(step: 100))
                }
                if file != "state.json" {
                    guard case .corrupt(url.path, _, _) = error else {
                        Issue.record("\(file), byte \(index): \(String(describing: error))")
                        continue
                    }
                }
            }
            try original.write(to: url)
        }
        #expect(try SampleCheckpoint(step: 100).equals(Checkpoint(sample.store.path(step: 100))))
    }

    @Test func everyTruncationIsFound() throws {
        let sample = try SampleStore(steps: [100])
        for file in files {
            let url = sample.url(100, file)
            let original = try Data(contentsOf: url)
            for count in 0..<original.count {
                try original.prefix(count).write(to: url)
                let error = #expect(throws: CheckpointError.self, "\(file), \(count) bytes") {
                    try Checkpoint(sample.store.path(step: 100))
                }
                if file != "state.json" {
                    #expect(error == .wrongSize(path: url.path, expected: original.count, found: count))
                } else {
                    guard case .malformedState(url.path, _) = error else {
                        Issue.record("\(count) bytes: \(String(describing: error))")
                        continue
                    }
                }
            }
            try original.write(to: url)
        }
    }

    @Test(arguments: files) func aMissingFileIsNamed(file: String) throws {
        let sample = try SampleStore(steps: [100])
        let url = sample.url(100, file)
        try FileManager.default.removeItem(at: url)
        let error = #expect(throws: CheckpointError.self) { try Checkpoint(sample.store.path(step: 100)) }
        #expect("\(error!)".contains(file))
        #expect("\(error!)".contains(sample.store.path(step: 100)))
    }

    @Test func aCheckpointThatIsNotThereIsMissing() throws {
        let sample = try SampleStore(steps: [])
        let path = sample.store.path(step: 7)
        #expect(throws: CheckpointError.missingFile(path: path)) { try Checkpoint(path) }
    }

    @Test func aFutureVersionIsRefusedAsSuch() throws {
        let sample = try SampleStore(steps: [100])
        let url = sample.url(100, "state.json")
        let text = try String(contentsOf: url, encoding: .utf8)
        try text.replacing("\"format_version\" : 1", with: "\"format_version\" : 2").write(
            to: url, atomically: false, encoding: .utf8)
        #expect(throws: CheckpointError.futureVersion(path: url.path, found: 2, supported: 1)) {
            try Checkpoint(sample.store.path(step: 100))
        }
    }

    @Test func anotherProgramsStateIsRefused() throws {
        let sample = try SampleStore(steps: [100])
        let url = sample.url(100, "state.json")
        try Data(#"{"format": "other", "format_version": 1}"#.utf8).write(to: url)
        let error = #expect(throws: CheckpointError.self) { try Checkpoint(sample.store.path(step: 100)) }
        guard case .notACheckpoint(url.path, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func anotherModelsCheckpointIsRefusedWithItsDifferences() throws {
        let sample = try SampleStore(steps: [100])
        let checkpoint = try Checkpoint(sample.store.path(step: 100))
        let layout = ParameterLayout(trainable: [("conv.bias", [4], .plain), ("fc.weight", [2], .plain)])
        let memory = AlignedMemory(byteCount: layout.totalCount * 4)
        let expected = TensorMismatch(
            expected: [("conv.bias", [4], .float32), ("fc.weight", [2], .float32)],
            found: [("conv.bias", [3], .float32), ("conv.weight", [3, 2, 2, 2], .float32)])
        #expect(throws: CheckpointError.mismatch(path: checkpoint.modelPath, expected)) {
            try checkpoint.loadModel(into: [NamedArena(layout, memory.slice())])
        }
        #expect(expected.missing == ["fc.weight"] && expected.unexpected == ["conv.weight"])
        #expect(expected.misshapen.map(\.name) == ["conv.bias"])
    }
}
