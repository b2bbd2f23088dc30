import Foundation

/// Whether a person watches standard error, and how wide the terminal is.
///
/// Under `mpirun` the answer is not in this process: mpirun gives each rank a pseudo-terminal of its own for standard
/// output, so that always looks like a terminal, and a pipe for standard error, so that never does. What counts is
/// where mpirun writes the forwarded text. A rank on mpirun's own host is its descendant, so the terminal is found by
/// walking up the parents to the launcher and looking at its file descriptor 2. On another host the walk ends at the
/// remote daemon, whose output is no terminal: plain lines, which is the safe answer. Under `--workers` the launcher
/// writes into a pipe to its parent, this same program, which passes the text on to its own standard error.
package struct Terminal: Sendable, Equatable {
    package var columns: Int
    package var colored: Bool

    package init(columns: Int, colored: Bool) {
        self.columns = columns
        self.colored = colored
    }

    /// Programs that start ranks and forward what they write.
    static let launchers: Set<String> = ["mpirun", "mpiexec", "orterun", "prterun", "prun", "srun", "mpiexec.hydra"]
    /// Options with which a launcher changes the text that it forwards, so that redrawing a line breaks.
    static let rewritingOptions: Set<String> = [
        "--tag-output", "-tag-output", "--timestamp-output", "-timestamp-output", "--output-filename",
        "-output-filename", "--xml", "-xml", "--xterm", "-xterm", "--output",
    ]

    /// The terminal that shows what this process writes to standard error; nil where nobody watches.
    package static func watchingStandardError(
        environment: [String: String] = ProcessInfo.processInfo.environment,
        processes: ProcessTable = ProcessTable()
    ) -> Terminal? {
        guard environment["TERM"] != "dumb" else { return nil }
        let colored = (environment["NO_COLOR"] ?? "").isEmpty
        let path: String?
        if isUnderLauncher(environment) {
            path = launcher(processes).flatMap { outlet(of: $0, processes) }
        } else {
            path = processes.file(2, of: processes.current)
        }
        guard let path, isTerminal(path) else { return nil }
        return Terminal(columns: columns(of: path) ?? 80, colored: colored)
    }

    /// Whether an MPI launcher started this process, as its environment tells.
    package static func isUnderLauncher(_ environment: [String: String]) -> Bool {
        ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE"].contains { environment[$0] != nil }
    }

    /// The nearest ancestor that is a launcher and forwards text as it stands.
    private static func launcher(_ processes: ProcessTable) -> Int32? {
        var process = processes.current
        for _ in 0..<64 {
            guard let parent = processes.parent(of: process), parent > 1 else { return nil }
            let arguments = processes.arguments(of: parent)
            if let program = arguments.first?.split(separator: "/").last.map(String.init), launchers.contains(program) {
                return rewritingOptions.isDisjoint(with: arguments) ? parent : nil
            }
            process = parent
        }
        return nil
    }

    /// Where the launcher's standard error ends up.
    private static func outlet(of launcher: Int32, _ processes: ProcessTable) -> String? {
        guard let path = processes.file(2, of: launcher) else { return nil }
        guard path.hasPrefix("pipe:"), let parent = processes.parent(of: launcher),
            let program = processes.executable(of: parent), program == processes.executable(of: processes.current)
        else { return path }
        return processes.file(2, of: parent)
    }

    private static func isTerminal(_ path: String) -> Bool {
        path.hasPrefix("/dev/pts/") || path.hasPrefix("/dev/tty") || path == "/dev/console"
    }

    private static func columns(of path: String) -> Int? {
        let descriptor = open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }
}

/// What Linux tells about processes under `/proc` (proc(5)); tests give another root.
package struct ProcessTable: Sendable {
    package var root: String
    package var current: Int32

    package init(root: String = "/proc", current: Int32 = getpid()) {
        self.root = root
        self.current = current
    }

    /// The process that started `process`.
    package func parent(of process: Int32) -> Int32? {
        guard let stat = try? String(contentsOfFile: "\(root)/\(process)/stat", encoding: .utf8),
            let nameEnd = stat.lastIndex(of: ")")
        else { return nil }
        // After the name in parentheses come the state and the parent.
        let fields = stat[stat.index(after: nameEnd)...].split(separator: " ")
        return fields.count > 1 ? Int32(fields[1]) : nil
    }

    /// The command line of `process`.
    package func arguments(of process: Int32) -> [String] {
        guard let data = FileManager.default.contents(atPath: "\(root)/\(process)/cmdline") else { return [] }
        return data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The path of the program that `process` runs.
    package func executable(of process: Int32) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: "\(root)/\(process)/exe")
    }

    /// What a file descriptor of `process` points to.
    package func file(_ descriptor: Int, of process: Int32) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: "\(root)/\(process)/fd/\(descriptor)")
    }
}
