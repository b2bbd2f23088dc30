import Foundation
import TestSupport
import Testing

/// Training on two simulated hosts, over TCP: `cluster/two-hosts.sh`. Skipped where hosts cannot be simulated.
@Suite(.serialized, .enabled(if: hostsCanBeSimulated)) struct ClusterTests {
    let command: Command

    init() throws {
        command = try Command()
        try command.writeDigits(to: "digits")
    }

    private func train(_ launcher: [String], out: String) throws -> [Double] {
        let outcome = try runProcess(
            launcher[0],
            launcher.dropFirst() + [
                command.program, "train", "--model", "cnn-mnist", "--data", "mnist:\(command.path("digits"))",
                "--steps", "6",
                "--batch-size", "16", "--threads", "1", "--out", command.path(out), "--quiet",
            ],
            workingDirectory: command.directory, deadlineSeconds: 120)
        #expect(outcome.status == 0 && !outcome.timedOut, "\(outcome)")
        return try command.metrics(out).filter { $0["event"] as? String == "step" }.compactMap { $0["loss"] as? Double }
    }

    @Test func twoHostsOverTCPGiveTheCurveOfOneProcess() throws {
        let alone = try train(["env"], out: "alone")
        let apart = try train([twoHostsScript, "--name", hostsName, "--ranks", "2", "--"], out: "apart")
        try #require(alone.count == 6 && apart.count == 6)
        for (a, b) in zip(alone, apart) {
            #expect(abs(a - b) <= 2e-4 * abs(a), "\(apart) on two hosts, \(alone) alone")
        }
    }
}

private let hostsName = "c" + String(getpid() % 60_000, radix: 36)

private let twoHostsScript: String = {
    let sources = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
    return sources.joined(separator: "/") + "/cluster/two-hosts.sh"
}()

private let hostsCanBeSimulated =
    (try? runProcess(twoHostsScript, ["--name", hostsName, "--", "true"], deadlineSeconds: 60).status) != 77
