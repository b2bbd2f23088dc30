import Foundation
import TestSupport
import Testing

/// The built command, run as a user runs it, in a directory of its own.
struct Command {
    let scratch: ScratchDirectory
    var directory: String { scratch.path }
    let program: String

    init() throws {
        scratch = try ScratchDirectory()
        program = try builtProduct("dtrain")
    }

    /// The program as its messages spell it: `dtrain` where the PATH finds this very file, as after scripts/build.sh.
    var spelling: String {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        let found = folders.map { "\($0)/dtrain" }.first { FileManager.default.isExecutableFile(atPath: $0) }
        func resolved(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }
        return found.map(resolved) == resolved(program) ? "dtrain" : program
    }

    /// Runs `dtrain ARGUMENTS`.
    func dtrain(
        _ arguments: String..., environment: [String: String] = [:], deadline: Double = 120
    ) throws -> ProcessOutcome {
        try run(program, arguments, environment, deadline)
    }

    /// Runs `dtrain` with the words of `line`.
    func dtrain(words line: String, environment: [String: String] = [:]) throws -> ProcessOutcome {
        try run(program, line.split(separator: " ").map(String.init), environment, 120)
    }

    /// Runs `mpirun -np RANKS dtrain ARGUMENTS` with what any machine needs.
    func mpirun(
        _ ranks: Int, _ arguments: String..., environment: [String: String] = [:], deadline: Double = 120
    ) throws -> ProcessOutcome {
        try run("mpirun", Self.launcherFlags + ["-np", "\(ranks)", program] + arguments, environment, deadline)
    }

    /// Runs several programs as one job: `mpirun A : B`.
    func mpirun(ranksOf commands: [[String]], deadline: Double = 120) throws -> ProcessOutcome {
        let arguments = commands.map { ["-np", "1"] + $0 }.joined(separator: [":"])
        return try run("mpirun", Self.launcherFlags + arguments, [:], deadline)
    }

    /// Starts `dtrain ARGUMENTS` and leaves it running.
    func start(_ arguments: String...) throws -> RunningProcess { try start(arguments) }

    func start(_ arguments: [String]) throws -> RunningProcess {
        try RunningProcess(program, arguments, environment: Self.environment, workingDirectory: directory)
    }

    func startMpirun(_ ranks: Int, _ arguments: String...) throws -> RunningProcess {
        try RunningProcess(
            "mpirun", Self.launcherFlags + ["-np", "\(ranks)", program] + arguments, environment: Self.environment,
            workingDirectory: directory)
    }

    private func run(
        _ executable: String, _ arguments: [String], _ environment: [String: String], _ deadline: Double
    ) throws -> ProcessOutcome {
        let outcome = try runProcess(
            executable, arguments, environment: Self.environment.merging(environment) { $1 },
            workingDirectory: directory, deadlineSeconds: deadline)
        #expect(!outcome.timedOut, "\(arguments.joined(separator: " ")) did not end within \(deadline) s")
        return outcome
    }

    private static let launcherFlags = [
        "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1",
    ]

    /// Every test sees the same: no colours, 80 columns, one compute thread's worth of BLAS settings.
    private static let environment = ["COLUMNS": "80", "NO_COLOR": "1", "OPENBLAS_CORETYPE": ""]

    // MARK: Files

    func path(_ name: String) -> String { directory + "/" + name }
    func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }
    func text(_ name: String) throws -> String { try String(contentsOfFile: path(name), encoding: .utf8) }
    func data(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path(name))) }
    func write(_ text: String, to name: String) throws { try write(Data(text.utf8), to: name) }
    func write(_ data: Data, to name: String) throws {
        let url = URL(fileURLWithPath: path(name))
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try data.write(to: url)
    }

    /// The names in a directory, sorted.
    func names(in name: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path(name)).sorted()
    }

    /// The objects of a run's metrics.jsonl: every line must be one.
    func metrics(_ run: String) throws -> [[String: Any]] {
        try text(run + "/metrics.jsonl").split(separator: "\n").map { line in
            try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
        }
    }

    /// Writes a small data set in MNIST's format: `training` and `test` images whose brightness tells the label.
    func writeDigits(to folder: String, training: Int = 96, test: Int = 48, seed: UInt8 = 0) throws {
        for (name, count) in [("train", training), ("t10k", test)] {
            let labels = (0..<count).map { UInt8($0 % 10) }
            var images = Self.header(magic: 2051, [count, 28, 28])
            for (index, label) in labels.enumerated() {
                for pixel in 0..<784 { images.append(label &* 20 &+ UInt8((pixel + index) % 7) &+ seed) }
            }
            try write(images, to: "\(folder)/\(name)-images-idx3-ubyte")
            try write(Self.header(magic: 2049, [count]) + Data(labels), to: "\(folder)/\(name)-labels-idx1-ubyte")
        }
    }

    /// An IDX header: the magic number and the extents, big-endian.
    static func header(magic: Int, _ extents: [Int]) -> Data {
        Data(([magic] + extents).flatMap { value in (0..<4).map { UInt8(value >> (24 - 8 * $0) & 0xff) } })
    }
}

/// Expects exit code, standard output and standard error, each whole.
func expect(
    _ outcome: ProcessOutcome, status: Int32, stdout: String = "", stderr: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(outcome.status == status, sourceLocation: sourceLocation)
    #expect(outcome.stdout == stdout, sourceLocation: sourceLocation)
    #expect(outcome.stderr == stderr, sourceLocation: sourceLocation)
}

/// Expects an error: its exit code, and standard error that holds each of `parts`, the first of them in one place only
/// (one clear message, not one a rank).
func expectError(
    _ outcome: ProcessOutcome, status: Int32, _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(outcome.status == status, "\(outcome.stderr)", sourceLocation: sourceLocation)
    for part in parts {
        #expect(outcome.stderr.contains(part), "\(outcome.stderr)", sourceLocation: sourceLocation)
    }
    if let first = parts.first {
        #expect(outcome.stderr.ranges(of: first).count <= 1, "\(outcome.stderr)", sourceLocation: sourceLocation)
    }
}
