import DTrainCheckpoint
import DTrainTensor
import Foundation
import StoreSamples
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

@Suite(.enabled(if: ScratchDirectory.canMount, "needs the right to mount a tmpfs"))
struct DiskFailureTests {
    @Test func aFullDiskLeavesThePreviousCheckpointAndNothingElse() throws {
        let disk = try ScratchDirectory(diskOfKilobytes: 64)
        let store = CheckpointStore(disk.path + "/checkpoints")
        try store.prepare()
        try SampleCheckpoint(step: 100).save(in: store)
        let large = NamedTensor(name: "large", dtype: .float32, shape: [40_000])
        // The same step too: the one of that name has to survive as well.
        for step in [200, 100] {
            let error = #expect(throws: CheckpointError.self) {
                try store.save(SampleCheckpoint(step: step).state, model: [large], optimizer: [])
            }
            guard case .fileSystem("write", let path, ENOSPC) = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
            #expect(path.hasSuffix("model.safetensors"))
            #expect("\(error!)".contains("Free space"))
            #expect(try FileManager.default.contentsOfDirectory(atPath: store.directory) == ["step-00000100"])
            #expect(try SampleCheckpoint(step: 100).equals(Checkpoint(store.path(step: 100))))
        }
        try SampleCheckpoint(step: 200).save(in: store)
    }

    @Test func aReadOnlyDiskIsSaidSo() throws {
        let disk = try ScratchDirectory(diskOfKilobytes: 64)
        let store = CheckpointStore(disk.path + "/checkpoints")
        try store.prepare()
        try SampleCheckpoint(step: 100).save(in: store)
        try disk.makeReadOnly()
        for action in [
            { try SampleCheckpoint(step: 200).save(in: store) },
            { try CheckpointStore(disk.path + "/other").prepare() },
            { try SafetensorsFile.write([], to: disk.path + "/a.safetensors") },
        ] as [() throws -> Any] {
            let error = #expect(throws: CheckpointError.self) { _ = try action() }
            guard case .fileSystem(_, let path, EROFS) = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
            #expect(path.hasPrefix(disk.path))
            #expect("\(error!)".contains("writable"))
        }
        #expect(try store.newestValid().checkpoint?.state.step == 100)
    }
}
