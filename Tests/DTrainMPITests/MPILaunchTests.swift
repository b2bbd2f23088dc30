import DTrainMPI
import Testing

@Suite struct MPILaunchTests {
    @Test func eachLauncherIsKnownByItsMarks() {
        func launch(_ environment: [String: String]) -> MPILaunch? { MPILaunch.detect(in: environment) }
        #expect(
            launch(["OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"]) == MPILaunch(launcher: "mpirun", size: 4)
        )
        #expect(
            launch(["SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3"])
                == MPILaunch(launcher: "srun", size: 8))
        #expect(launch(["PMI_RANK": "0", "PMI_SIZE": "2"]) == MPILaunch(launcher: "a PMI launcher", size: 2))
        #expect(launch(["PMIX_RANK": "0"]) == MPILaunch(launcher: "a PMIx launcher", size: nil))
        // mpirun inside a Slurm step speaks for itself.
        #expect(
            launch([
                "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "0", "OMPI_COMM_WORLD_RANK": "0",
                "OMPI_COMM_WORLD_SIZE": "2",
            ]) == MPILaunch(launcher: "mpirun", size: 2))
    }

    @Test func aProcessOfItsOwnAndABatchScriptAreNoLaunch() {
        #expect(MPILaunch.detect(in: ["PATH": "/bin", "OMPI_ALLOW_RUN_AS_ROOT": "1"]) == nil)
        #expect(MPILaunch.detect(in: ["SLURM_JOB_ID": "77", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"]) == nil)
        #expect(
            MPILaunch.detect(in: ["SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"]) == nil)
    }
}
