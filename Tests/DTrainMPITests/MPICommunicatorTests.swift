import TestSupport
import Testing

/// `MPICommunicator` as ranks of real jobs see it: `mpi-check` under mpirun. One job at a time: they share the cores.
@Suite(.serialized) struct MPICommunicatorTests {
    @Test(arguments: [1, 2, 3, 4, 7]) func everyOperationHolds(ranks: Int) throws {
        let outcome = try mpiCheck(ranks: ranks, "collectives", "--size", "\(ranks)", "--across", "1")
        #expect(outcome.status == 0 && !outcome.timedOut, "\(outcome)")
        #expect(outcome.stdout.contains("all collectives hold on \(ranks) ranks"))
    }

    @Test func buffersLongerThanMPICountsAreSplit() throws {
        let outcome = try mpiCheck(ranks: 3, "collectives", "--largest-count", "1000")
        #expect(outcome.status == 0, "\(outcome)")
        #expect(outcome.stdout.contains("all collectives hold on 3 ranks"))
    }

    @Test func everyOperationHoldsWithoutSharedMemory() throws {
        // One rank that cannot share it is enough: all agree.
        let program = [try builtProduct("mpi-check"), "collectives", "--across", "3"]
        let outcome = try mpirun(
            ["-np", "2"] + program + [":", "-np", "1", "-x", "DTRAIN_SHARED_MEMORY=0"] + program)
        #expect(outcome.status == 0, "\(outcome)")
        #expect(outcome.stdout.contains("all collectives hold on 3 ranks"))
    }

    @Test func aRankThatWaitsTakesLessThanATenthOfACore() throws {
        let outcome = try mpiCheck(ranks: 4, "idle")
        #expect(outcome.status == 0, "\(outcome)")
        #expect(
            outcome.stdout.contains("waiting in all-reduce took") && outcome.stdout.contains("waiting in receive took"))
    }

    @Test func aRankThatStopsIsNamedWithinTheLimit() throws {
        let outcome = try mpiCheck(ranks: 4, "fault", "--rank", "2", "--do", "stop", "--limit", "2", "--notice", "1")
        #expect(outcome.status == 5 && !outcome.timedOut, "\(outcome)")
        #expect(outcome.seconds < 2 + 1 + 10)
        #expect(outcome.stderr.contains("has waited 1 s for the other ranks in all-reduce #20; it gives up after 2 s"))
        #expect(outcome.stderr.contains(": rank 2 (host "))
        #expect(outcome.stderr.contains("did not arrive at all-reduce #20 within 2.0 s"))
    }

    @Test func ranksThatStopTogetherAreAllNamed() throws {
        let outcome = try mpiCheck(ranks: 4, "fault", "--rank", "1", "--other", "3", "--do", "stop", "--limit", "2")
        #expect(outcome.status == 5 && !outcome.timedOut, "\(outcome)")
        #expect(outcome.stderr.contains("ranks 1, 3 (host"))
        #expect(outcome.stderr.contains("did not arrive at all-reduce #20 within 2.0 s"))
    }

    @Test func aRankThatStopsInsideASumEndsTheJobToo() throws {
        let outcome = try mpiCheck(
            ranks: 2, "fault", "--rank", "1", "--do", "stop-inside", "--after", "3", "--limit", "2", "--count",
            "32000000")
        #expect(outcome.status == 5 && !outcome.timedOut, "\(outcome)")
        #expect(outcome.seconds < 2 + 1 + 15)
        #expect(
            outcome.stderr.contains("began on all ranks but did not end within")
                || outcome.stderr.contains("did not arrive at all-reduce"))
    }

    @Test(arguments: [("kill", 137), ("exit", 3)]) func aRankThatEndsEndsTheJob(action: String, status: Int32) throws {
        let outcome = try mpiCheck(ranks: 4, "fault", "--rank", "2", "--do", action)
        #expect(outcome.status == status && !outcome.timedOut, "\(outcome)")
        #expect(outcome.seconds < 20)
    }

    @Test(arguments: ["fail", "fail-busy"]) func aRankThatFailsEndsTheJobWithItsCode(action: String) throws {
        let outcome = try mpiCheck(ranks: 3, "fault", "--rank", "1", "--do", action)
        #expect(outcome.status == 7 && !outcome.timedOut, "\(outcome)")
        #expect(outcome.seconds < 20)
    }

    @Test func aMessageThatNobodySendsIsAStall() throws {
        let outcome = try mpiCheck(ranks: 3, "fault", "--rank", "1", "--do", "message", "--limit", "1")
        #expect(outcome.status == 5 && !outcome.timedOut, "\(outcome)")
        #expect(outcome.stderr.contains("rank 2 (host "))
        #expect(outcome.stderr.contains("did not arrive at receive from rank 2 within 1.0 s"))
    }

    @Test func aLauncherThatMPIDoesNotKnowIsNamed() throws {
        let outcome = try runProcess(
            try builtProduct("mpi-check"), ["collectives"],
            environment: ["SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "0"])
        #expect(outcome.status == 1, "\(outcome)")
        #expect(outcome.stderr.contains("srun started 3 ranks, but MPI sees 1 in this job"))
        #expect(outcome.stderr.contains("srun --mpi=pmix"))
    }
}
