import Glibc
import TestSupport
import Testing

/// The helper that all tests of the binaries rest on: it must end whatever it started.
@Suite struct RunProcessTests {
    @Test func statusAndOutputAreThoseOfTheProcess() throws {
        let outcome = try runProcess(
            "sh", ["-c", "echo $WORD; pwd; echo error >&2; exit 7"], environment: ["WORD": "hello"],
            workingDirectory: "/usr")
        #expect(outcome.status == 7 && outcome.stdout == "hello\n/usr\n" && outcome.stderr == "error\n")
        #expect(try runProcess("sh", ["-c", "kill -TERM $$"]).status == 128 + SIGTERM)
        #expect(throws: ProcessError.self) { try runProcess("/no/such/program") }
    }

    @Test func outputLargerThanAPipeIsRead() throws {
        let outcome = try runProcess("sh", ["-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2"])
        #expect(outcome.stdout.utf8.count == 3_000_000 && outcome.stderr == "end\n")
    }

    @Test func theDeadlineEndsDescendantsInGroupsOfTheirOwn() throws {
        let process = try RunningProcess("sh", ["-c", "setsid sleep 300 & echo started; wait"])
        #expect(process.waitForOutput(containing: "started", deadlineSeconds: 10))
        usleep(100_000)
        let descendants = process.descendants
        #expect(!descendants.isEmpty)
        let outcome = process.wait(deadlineSeconds: 0.2)
        #expect(outcome.timedOut && outcome.status == 128 + SIGKILL && outcome.seconds < 5)
        usleep(100_000)
        for descendant in descendants { #expect(!isRunning(descendant)) }
    }

    /// Whether the process exists and is not merely waiting to be reaped.
    private func isRunning(_ process: pid_t) -> Bool {
        guard let file = fopen("/proc/\(process)/stat", "r") else { return false }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, 256, file) != nil else { return false }
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return !text.contains(") Z ")
    }
}
