import DTrainTensor
import Foundation
import Logging
import Synchronization

/// `--workers N` without a launcher: this process stays the parent of an `mpirun` of the same command, with the flags
/// that this machine needs, and turns mpirun's end into an exit code and one message.
struct WorkerLauncher {
    /// Processes to start, a dedicated coordinator included.
    var processes: Int
    /// The command to run in each: the program's path and its arguments.
    var command: [String]
    var facts: MachineFacts
    var log: Logger
    /// What a message tells the user to do when the ranks were killed.
    var remedy: String

    static let stopNotice = "\nstopping after this step and a checkpoint; Ctrl-C again ends it at once\n"

    /// The arguments of mpirun before the command, for Open MPI 4 and 5.
    static func flags(processes: Int, isRoot: Bool, restrictsMemoryAccess: Bool) -> [String] {
        var flags = ["-np", "\(processes)"]
        if isRoot { flags.append("--allow-run-as-root") }
        // Stay on this host, with a slot for each process, also inside a batch job's allocation of several hosts.
        flags += ["--host", "localhost:\(processes)"]
        // A rank uses as many cores as --threads says, not the one that mpirun would bind it to.
        flags += ["--bind-to", "none"]
        // A rank that waits gives its core to one that computes.
        flags += ["--mca", "mpi_yield_when_idle", "1"]
        // Each of mpirun's messages whole, so that those about ranks that ended can be told from others.
        flags += ["--mca", "orte_base_help_aggregate", "0"]
        if restrictsMemoryAccess { flags += ["--mca", "btl_vader_single_copy_mechanism", "none"] }
        return flags
    }

    /// Runs mpirun to its end. Signals ask the ranks to stop in good order; a second Ctrl-C ends them at once.
    func run() throws -> Int32 {
        guard let mpirun = facts.mpirun else {
            throw UsageError(
                "--workers needs mpirun, which is not on the PATH; install it (apt-get install openmpi-bin), "
                    + "or train with one process: leave --workers out.")
        }
        let child = Child()
        // mpirun passes SIGUSR1 on to the ranks; at SIGINT or SIGTERM it would kill them within a second.
        let watcher = SignalWatcher(
            onFirst: { number in
                child.send(SIGUSR1)
                if number == SIGINT { Console.diagnostic(Self.stopNotice) }
            },
            onSecondInterrupt: { child.send(SIGTERM) })
        let flags = Self.flags(
            processes: processes, isRoot: facts.isRoot, restrictsMemoryAccess: facts.restrictsMemoryAccess)
        // Should this process be killed, mpirun and its ranks go too.
        let leash = MachineFacts.executable("setpriv").map { [$0, "--pdeathsig", "TERM"] } ?? []
        let arguments = leash + [mpirun] + flags + command
        log.debug("starting \(arguments.map(shellQuoted).joined(separator: " "))")
        let (identifier, errors) = try spawn(arguments)
        child.identifier.store(identifier, ordering: .sequentiallyConsistent)
        if watcher.hasFired { child.send(SIGUSR1) }

        var messages = LauncherMessages()
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(errors, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            Console.write(messages.receive(buffer[0..<count]), to: 2)
        }
        Console.write(messages.finish(), to: 2)
        close(errors)
        var status: Int32 = 0
        while waitpid(identifier, &status, 0) < 0, errno == EINTR {}
        return conclude(status, messages.killedRank)
    }

    /// The process that signals go to, once there is one.
    private final class Child: Sendable {
        let identifier = Atomic<Int32>(0)

        func send(_ signal: Int32) {
            let identifier = identifier.load(ordering: .sequentiallyConsistent)
            if identifier > 0 { kill(identifier, signal) }
        }
    }

    /// The exit code for mpirun's, with a message where no rank could write one.
    private func conclude(_ status: Int32, _ killedRank: LauncherMessages.KilledRank?) -> Int32 {
        let signal = status & 0x7f
        let code = signal == 0 ? status >> 8 & 0xff : 128 + signal
        if let killedRank {
            let cause =
                [SIGKILL, SIGTERM, SIGINT, SIGHUP].contains(Int32(killedRank.signal))
                ? "if nobody did that, look for a lack of memory ('dmesg')"
                : "the program crashed; please report it with what is above"
            Console.diagnostic(
                "dtrain: rank \(killedRank.rank) on host \(killedRank.host) was ended by signal \(killedRank.signal) "
                    + "(\(killedRank.signalName)); \(cause). \(remedy)\n")
            return ExitStatus.peer.rawValue
        }
        if let known = ExitStatus(rawValue: code), known != .unexpected { return known.rawValue }
        if signal != 0 {
            Console.diagnostic("dtrain: mpirun was ended by signal \(signal). \(remedy)\n")
        } else {
            Console.diagnostic(
                "dtrain: mpirun ended with code \(code); its message is above, and 'dtrain doctor' checks this machine.\n"
            )
        }
        return ExitStatus.peer.rawValue
    }

    /// Starts `arguments` in a process group of its own, so that the terminal's Ctrl-C reaches this process alone, with
    /// its standard error on a pipe. Returns its id and the pipe's end to read from.
    private func spawn(_ arguments: [String]) throws -> (identifier: pid_t, errors: Int32) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw UsageError("cannot make a pipe: \(String(cString: strerror(errno))).") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF))
        posix_spawnattr_setpgroup(&attributes, 0)
        var ignored = sigset_t()
        sigemptyset(&ignored)
        sigaddset(&ignored, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &ignored)
        var vector = arguments.map { strdup($0) } + [nil]
        defer { vector.forEach { free($0) } }
        var identifier = pid_t()
        let failure = posix_spawn(&identifier, arguments[0], &actions, &attributes, &vector, environ)
        close(ends[1])
        guard failure == 0 else {
            close(ends[0])
            throw UsageError("cannot start \(arguments[0]): \(String(cString: strerror(failure))).")
        }
        return (identifier, ends[0])
    }
}
