import DTrainCheckpoint
import StoreSamples
import Testing

@Suite struct RetentionTests {
    @Test func theNewestAndTheBestStay() {
        let steps = [400, 100, 300, 200, 500]
        #expect(RetentionPolicy().removable(steps, best: nil) == [100, 200])
        #expect(RetentionPolicy().removable(steps, best: 100) == [200])
        #expect(RetentionPolicy().removable(steps, best: 400) == [100, 200])
        #expect(RetentionPolicy(keep: 1).removable(steps, best: 200) == [100, 300, 400])
        #expect(RetentionPolicy(keep: 9).removable(steps, best: nil) == [])
        #expect(RetentionPolicy.defaultKeep == 3)
    }

    @Test func pruningRemovesFromTheDiskAndSparesTheBest() throws {
        let sample = try SampleStore(steps: [100, 200, 300, 400])
        #expect(sample.store.bestStep() == nil)
        try sample.store.markBest(step: 300)
        try sample.store.markBest(step: 100)
        #expect(sample.store.bestStep() == 100)
        #expect(try sample.store.prune(RetentionPolicy(keep: 2)) == [200])
        #expect(try sample.names == ["best", "step-00000100", "step-00000300", "step-00000400"])
        #expect(try SampleCheckpoint(step: 100).equals(Checkpoint(sample.store.directory + "/best")))
        #expect(try sample.store.prune(RetentionPolicy(keep: 2)) == [])
    }

    @Test func onlyACheckpointThatIsThereCanBeTheBest() throws {
        let sample = try SampleStore(steps: [100])
        try sample.store.markBest(step: 100)
        #expect(throws: CheckpointError.missingFile(path: sample.store.path(step: 200))) {
            try sample.store.markBest(step: 200)
        }
        #expect(sample.store.bestStep() == 100)
    }
}
