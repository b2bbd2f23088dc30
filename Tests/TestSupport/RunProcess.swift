import Glibc

/// How a process that a test started has ended, and all that it printed.
public struct ProcessOutcome: Sendable {
    /// The exit code; 128 + the signal's number where a signal ended it, as a shell says it.
    public let status: Int32
    public let stdout: String
    public let stderr: String
    /// Whether the deadline passed and the process, with all its descendants, was killed.
    public let timedOut: Bool
    /// Wall-clock time from start to end.
    public let seconds: Double
}

/// A test's own process could not be started or found.
public struct ProcessError: Error, CustomStringConvertible, Sendable {
    public let description: String
}

/// Runs `executable` (a path, or a name looked up in PATH) to its end and returns what it printed.
///
/// `environment` is laid over this process's own; an empty value removes the variable. The process leads a process
/// group of its own and reads from /dev/null. When `deadlineSeconds` have passed, it and all its descendants are killed
/// and `timedOut` is set: no test hangs. The call blocks its thread.
public func runProcess(
    _ executable: String, _ arguments: [String] = [], environment: [String: String] = [:],
    workingDirectory: String? = nil, deadlineSeconds: Double = 60
) throws -> ProcessOutcome {
    let process = try RunningProcess(
        executable, arguments, environment: environment, workingDirectory: workingDirectory)
    return process.wait(deadlineSeconds: deadlineSeconds)
}

/// The path of an executable product of this package, built with the tests (`dtrain`, `mpi-check`).
///
/// SwiftPM puts every product of one build into one directory, and on Linux the test bundle is itself an executable
/// there, so the product lies beside it.
public func builtProduct(_ name: String) throws -> String {
    var candidates: [String] = []
    for program in [executablePath(), CommandLine.arguments.first].compactMap({ $0 }) {
        guard let slash = program.lastIndex(of: "/") else { continue }
        let path = program[..<slash] + "/" + name
        if access(String(path), X_OK) == 0 { return String(path) }
        candidates.append(String(path))
    }
    throw ProcessError(description: "product \(name) was not built beside the tests; looked for \(candidates)")
}

private func executablePath() -> String? {
    var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = buffer.withUnsafeMutableBytes { readlink("/proc/self/exe", $0.baseAddress!, $0.count) }
    return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
}

/// A process that a test started and may signal while it runs. Use it from one thread.
///
/// Its pipes are read only inside `wait` and `waitForOutput`: a process that prints more than a pipe holds (64 KiB)
/// pauses until one of them is called.
public final class RunningProcess {
    /// The process's id, which is its group's too.
    public let identifier: pid_t
    private var pipes: [(descriptor: Int32, text: [UInt8])] = []
    private let started = monotonicSeconds()
    private var status: Int32?

    public init(
        _ executable: String, _ arguments: [String] = [], environment: [String: String] = [:],
        workingDirectory: String? = nil
    ) throws {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        posix_spawnattr_setpgroup(&attributes, 0)
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)

        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        var writeEnds: [Int32] = []
        for target in [Int32(1), 2] {
            var ends: [Int32] = [-1, -1]
            guard pipe(&ends) == 0 else { throw ProcessError(description: "no pipe: error \(errno)") }
            for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
            posix_spawn_file_actions_adddup2(&actions, ends[1], target)
            _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
            pipes.append((ends[0], []))
            writeEnds.append(ends[1])
        }

        // env(1) changes the directory and becomes the program: the id stays the same.
        let command = (workingDirectory.map { ["env", "-C", $0] } ?? []) + [executable] + arguments
        var variables = currentEnvironment()
        for (name, value) in environment { variables[name] = value.isEmpty ? nil : value }
        var argumentVector = command.map { strdup($0) } + [nil]
        var environmentVector = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
        var child = pid_t()
        let failure = posix_spawnp(&child, command[0], &actions, &attributes, &argumentVector, &environmentVector)
        argumentVector.forEach { free($0) }
        environmentVector.forEach { free($0) }
        writeEnds.forEach { _ = close($0) }
        identifier = child
        guard failure == 0 else {
            status = 127
            throw ProcessError(description: "cannot start \(executable): \(String(cString: strerror(failure)))")
        }
    }

    deinit {
        if status == nil { killEverything() }
        for pipe in pipes where pipe.descriptor >= 0 { close(pipe.descriptor) }
    }

    /// What it has printed so far, as far as it has been read.
    public var stdout: String { String(decoding: pipes[0].text, as: UTF8.self) }
    public var stderr: String { String(decoding: pipes[1].text, as: UTF8.self) }

    /// Sends a signal to the process alone (not to its group).
    public func send(signal: Int32) { if status == nil { kill(identifier, signal) } }

    /// The ids of the processes that descend from this one, now.
    public var descendants: [pid_t] {
        var children: [pid_t: [pid_t]] = [:]
        if let directory = opendir("/proc") {
            defer { closedir(directory) }
            while let entry = readdir(directory) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                guard let process = pid_t(name), let parent = parentOf(process) else { continue }
                children[parent, default: []].append(process)
            }
        }
        var found: [pid_t] = []
        var next = [identifier]
        while let process = next.popLast() {
            found += children[process] ?? []
            next += children[process] ?? []
        }
        return found
    }

    /// Reads until stdout or stderr contains `text`; false where the process ended or the deadline passed before.
    public func waitForOutput(containing text: String, deadlineSeconds: Double = 60) -> Bool {
        let deadline = monotonicSeconds() + deadlineSeconds
        while monotonicSeconds() < deadline {
            if stdout.contains(text) || stderr.contains(text) { return true }
            if !pump() { return stdout.contains(text) || stderr.contains(text) }
        }
        return false
    }

    /// Waits for the end. When the deadline passes first, kills the process and all its descendants.
    public func wait(deadlineSeconds: Double = 60) -> ProcessOutcome {
        let deadline = monotonicSeconds() + deadlineSeconds
        var timedOut = false
        while pump() {
            if monotonicSeconds() > deadline {
                timedOut = true
                killEverything()
                break
            }
        }
        // A descendant that outlives it may hold the pipes open: take what is there and leave.
        for _ in 0..<3 { _ = read(timeoutMilliseconds: 20) }
        if !timedOut { kill(-identifier, SIGKILL) }
        return ProcessOutcome(
            status: status ?? 128 + SIGKILL, stdout: stdout, stderr: stderr, timedOut: timedOut,
            seconds: monotonicSeconds() - started)
    }

    /// Reads what has come within a moment; false once the process has ended.
    private func pump() -> Bool {
        if status != nil { return false }
        let open = read(timeoutMilliseconds: 20)
        if !open { usleep(5_000) }
        reap(WNOHANG)
        return status == nil
    }

    private func reap(_ options: Int32) {
        var word: Int32 = 0
        guard status == nil, waitpid(identifier, &word, options) == identifier else { return }
        let signal = word & 0x7f
        status = signal == 0 ? (word >> 8) & 0xff : 128 + signal
    }

    private func read(timeoutMilliseconds: Int32) -> Bool {
        var polls = pipes.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
        guard polls.contains(where: { $0.fd >= 0 }) else { return false }
        _ = poll(&polls, nfds_t(polls.count), timeoutMilliseconds)
        var chunk = [UInt8](repeating: 0, count: 65536)
        for index in pipes.indices where pipes[index].descriptor >= 0 && polls[index].revents != 0 {
            let count = Glibc.read(pipes[index].descriptor, &chunk, chunk.count)
            if count > 0 {
                pipes[index].text += chunk[..<count]
            } else if count == 0 {
                close(pipes[index].descriptor)
                pipes[index].descriptor = -1
            }
        }
        return true
    }

    /// Kills the process and every descendant: those of mpirun have process groups of their own.
    private func killEverything() {
        let doomed = descendants
        kill(-identifier, SIGKILL)
        for process in doomed { kill(process, SIGKILL) }
        reap(0)
    }
}

/// Seconds of a clock that never jumps.
public func monotonicSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

private func currentEnvironment() -> [String: String] {
    var variables: [String: String] = [:]
    var entry = environ
    while let text = entry.pointee {
        let parts = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        if parts.count == 2 { variables[String(parts[0])] = String(parts[1]) }
        entry += 1
    }
    return variables
}

private func parentOf(_ process: pid_t) -> pid_t? {
    let descriptor = open("/proc/\(process)/stat", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var buffer = [UInt8](repeating: 0, count: 512)
    let count = read(descriptor, &buffer, buffer.count)
    guard count > 0 else { return nil }
    // pid (name) state parent …: the name may contain anything, so fields are counted from its last parenthesis.
    let text = String(decoding: buffer[..<count], as: UTF8.self)
    guard let end = text.lastIndex(of: ")") else { return nil }
    let fields = text[text.index(after: end)...].split(separator: " ")
    return fields.count > 1 ? pid_t(fields[1]) : nil
}
