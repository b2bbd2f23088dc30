import DTrainCollectives
import DTrainMPI
import DTrainReport
import DTrainTrainer
import Foundation

/// This process as one of the job's ranks: the communication queue, and how the process leaves the job.
struct Job {
    let queue: CommunicationQueue
    let facts: MachineFacts
    let name: String

    var rank: Int { queue.rank }
    var speaks: Bool { queue.rank == 0 }

    /// Starts communication: over MPI where a launcher started this process, alone elsewhere.
    init(_ launch: LaunchEnvironment, facts: MachineFacts, name: String) throws {
        self.facts = facts
        self.name = name
        let host = facts.host
        if let started = launch.launch {
            var patience = MPICommunicator.Patience()
            patience.onNotice = { message, _ in Console.diagnostic("\(name): \(message)\n") }
            let waiting = patience
            queue = try CommunicationQueue { try MPICommunicator.world(launch: started, patience: waiting) }
        } else {
            queue = try CommunicationQueue { SoloCommunicator(host: host) }
        }
    }

    /// The threads that this rank computes with: those asked for, or its share of the cores granted.
    func threads(_ asked: Int?) -> Int { asked ?? facts.threads(localRanks: queue.localSize) }

    /// Throws where `--workers` asks for another number of ranks that train than the launcher started.
    func checkWorkers(_ workers: Int?, training: Int, _ launch: LaunchEnvironment) throws {
        guard let workers, let launcher = launch.launch?.launcher, workers != training else { return }
        throw UsageError(
            "--workers \(workers) does not go with \(Formatting.count(queue.size, "rank"))"
                + (training < queue.size ? ", one of which coordinates," : "") + " that \(launcher) started; "
                + "leave --workers out and set the number of ranks there.")
    }

    /// The value that `make` gives on rank 0, on all ranks.
    func fromRankZero<Value: Codable>(_ make: () throws -> Value) throws -> Value {
        let own = speaks ? Array(try JSONEncoder().encode(try make())) : []
        let bytes = try queue.perform { try $0.broadcast(own, root: 0) }
        return try JSONDecoder().decode(Value.self, from: Data(bytes))
    }

    /// Runs `body` and leaves the job: in good order after success or after what all ranks know of, by ending the job
    /// after an error of this rank alone. Returns the exit code.
    func run(_ body: () throws -> ExitStatus) -> Int32 {
        do {
            let status = try body()
            try queue.close()
            return status.rawValue
        } catch let failure as SharedFailure {
            // Rank 0 speaks before anybody leaves: the first exit code above 0 makes mpirun end the others.
            if speaks { Console.diagnostic("\(name): \(failure)\n") }
            try? queue.close()
            return failure.exitCode
        } catch {
            let code = ExitStatus.of(error).rawValue
            if !speaks { RankZeroFirst.wait() }
            let isNamed = error is CommunicationError || error is ConfigurationError || queue.size == 1
            Console.diagnostic("\(name): \(isNamed ? "" : "rank \(rank) on \(facts.host): ")\(error)\n")
            if queue.size > 1 { queue.abort(code: code) }
            return code
        }
    }
}

/// All ranks of a job often make the same mistake at the same time. Rank 0 says it at once, and its end makes mpirun
/// end the others; another rank waits a little before it speaks, so it is heard only if the mistake is its own.
enum RankZeroFirst {
    static func wait() {
        // mpirun's SIGTERM would otherwise ask for a stop in good order.
        signal(SIGTERM, SIG_DFL)
        sleep(3)
    }
}
