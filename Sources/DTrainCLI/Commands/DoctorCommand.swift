import ArgumentParser
import Foundation

struct DoctorCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "doctor",
            abstract: "Check MPI, BLAS, cores and binding of this machine, with a remedy for each problem.",
            discussion: "Exit code 0 without a problem, 2 with one. Under mpirun it looks at each rank's own place.")
    }

    @Flag(help: "One JSON object instead of a table.")
    var json = false

    func run() throws {
        let launch = LaunchEnvironment()
        let diagnosis = Diagnosis(MachineFacts.gatherAll())
        if json {
            Console.result(diagnosis.json.text + "\n")
        } else if launch.speaks {
            Console.result(diagnosis.text)
        } else {
            // Another rank adds only what is wrong at its own place.
            for finding in diagnosis.findings where finding.verdict == .problem {
                Console.result("rank \(launch.rank ?? 0): \(finding.detail)\n")
            }
        }
        if diagnosis.hasProblem { throw ExitCode(ExitStatus.usage.rawValue) }
    }
}
