import DTrainCheckpoint
import Foundation
import StoreSamples
import TestSupport
import Testing

/// A child process, `store-check`, is killed by its own hand in the middle of writing the checkpoint of `step`.
private func killWrite(of step: Int, in sample: SampleStore, at place: String) throws -> ProcessOutcome {
    try runProcess(
        builtProduct("store-check"), [sample.store.directory, "\(step)", "kill@checkpoint:\(place)"],
        deadlineSeconds: 30)
}

@Suite struct KilledWriteTests {
    /// Bytes of the sample's files, one after the other.
    static func sizes() throws -> [Int] {
        let sample = try SampleStore(steps: [200])
        return try ["model.safetensors", "optimizer.safetensors", "state.json"].map {
            try Data(contentsOf: sample.url(200, $0)).count
        }
    }

    @Test func deathAtAnyByteLeavesThePreviousCheckpoint() throws {
        let sizes = try Self.sizes()
        let total = sizes.reduce(0, +)
        let ends = [sizes[0], sizes[0] + sizes[1], total]
        let places = Set(ends.flatMap { [$0 - 1, $0, $0 + 1] } + stride(from: 0, to: total, by: 61)).filter {
            $0 < total
        }
        for place in places.sorted() {
            let sample = try SampleStore(steps: [100])
            let outcome = try killWrite(of: 200, in: sample, at: "\(place)")
            #expect(outcome.status == 128 + SIGKILL, "\(place): \(outcome.stderr)")
            // Exactly so many bytes have reached the disk.
            let temporary = sample.store.directory + "/.tmp-step-00000200"
            let written = try FileManager.default.contentsOfDirectory(atPath: temporary).map {
                try Data(contentsOf: URL(fileURLWithPath: temporary + "/" + $0)).count
            }
            #expect(written.reduce(0, +) == place)
            try expectIntact(sample, place: "\(place)")
        }
        let survivor = try SampleStore(steps: [100])
        #expect(try killWrite(of: 200, in: survivor, at: "\(total)").stdout == "survived\n")
        #expect(try survivor.store.newestValid().checkpoint?.state.step == 200)
    }

    /// Step 100 is found, before and after clearing up, and the next write succeeds.
    private func expectIntact(_ sample: SampleStore, place: String) throws {
        for _ in 0..<2 {
            let (checkpoint, skipped) = try sample.store.newestValid()
            let intact = try checkpoint.map { try SampleCheckpoint(step: 100).equals($0) }
            #expect(intact == true && skipped.isEmpty, "killed at \(place)")
            try sample.store.prepare()
            #expect(try sample.names == ["step-00000100"], "killed at \(place)")
        }
        try SampleCheckpoint(step: 200).save(in: sample.store)
        #expect(try sample.store.newestValid().checkpoint?.state.step == 200)
    }

    @Test func deathBeforeTheRenameLeavesThePreviousCheckpoint() throws {
        let sample = try SampleStore(steps: [100])
        #expect(try killWrite(of: 200, in: sample, at: "before-rename").status == 128 + SIGKILL)
        try expectIntact(sample, place: "before-rename")
    }

    @Test(arguments: ["before-rename", "moved-aside", "1000"])
    func deathWhileReplacingOneOfTheSameStepLeavesTheOlder(place: String) throws {
        let sample = try SampleStore(steps: [50])
        let older = SampleCheckpoint(step: 100, best: BestMetric(name: "loss", value: 9, step: 100))
        try older.save(in: sample.store)
        #expect(try killWrite(of: 100, in: sample, at: place).status == 128 + SIGKILL)
        for _ in 0..<2 {
            let found = try #require(try sample.store.newestValid().checkpoint)
            #expect(try older.equals(found))
            try sample.store.prepare()
            #expect(try sample.names == ["step-00000050", "step-00000100"])
        }
    }

    @Test(arguments: [100, 200]) func deathAfterTheRenameLeavesTheNewOne(step: Int) throws {
        let sample = try SampleStore(steps: [])
        try SampleCheckpoint(step: 100, best: BestMetric(name: "loss", value: 9, step: 100)).save(in: sample.store)
        #expect(try killWrite(of: step, in: sample, at: "after-rename").status == 128 + SIGKILL)
        for _ in 0..<2 {
            let found = try #require(try sample.store.newestValid().checkpoint)
            #expect(try SampleCheckpoint(step: step).equals(found))
            try sample.store.prepare()
        }
        #expect(try sample.names == Set([100, step]).sorted().map { "step-00000\($0)" })
    }

    @Test(arguments: ["kill@checkpoint:", "kill@checkpoint:-1", "kill@step:3", "", "kill@checkpoint:rename"])
    func anUnknownFaultIsRefused(text: String) {
        #expect(throws: CheckpointFaultError(text: text)) { try CheckpointFault(text) }
    }
}
