import DTrainCLI
import Testing

/// What the parent of the workers passes on of mpirun's standard error.
@Suite struct LauncherMessagesTests {
    static let line = String(repeating: "-", count: 74) + "\n"
    static let killed =
        line + "mpirun noticed that process rank 1 with PID 77 on node node-7 exited on signal 9 (Killed).\n" + line
    static let nonZero =
        line + "Primary job  terminated normally, but 1 process returned\n"
        + "a non-zero exit code. Per user-direction, the job has been aborted.\n" + line
    static let slots = line + "There are not enough slots available in the system\n" + line

    /// Feeds `text` in chunks of `size` bytes.
    func pass(_ text: String, chunk size: Int) -> (passed: String, killed: LauncherMessages.KilledRank?) {
        var messages = LauncherMessages()
        var passed: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            passed += messages.receive(rest.prefix(size))
            rest = rest.dropFirst(size)
        }
        passed += messages.finish()
        return (String(decoding: passed, as: UTF8.self), messages.killedRank)
    }

    @Test(arguments: [1, 7, 73, 74, 75, 4096]) func howRanksEndedIsTakenOutHoweverTheTextIsCut(chunk: Int) {
        let text = "before – 5\n\rbar [==> ]\u{1B}[K" + Self.nonZero + Self.killed + "after --option\n"
        let result = pass(text, chunk: chunk)
        #expect(result.passed == "before – 5\n\rbar [==> ]\u{1B}[Kafter --option\n")
        #expect(result.killed?.rank == 1 && result.killed?.host == "node-7")
        #expect(result.killed?.signal == 9 && result.killed?.signalName == "Killed")
    }

    @Test(arguments: [1, 74, 4096]) func otherMessagesOfMpirunArePassedOnWhole(chunk: Int) {
        let result = pass("a\n" + Self.slots + "b\n", chunk: chunk)
        #expect(result.passed == "a\n" + Self.slots + "b\n")
        #expect(result.killed == nil)
    }

    @Test(arguments: [1, 5, 4096]) func whatMpirunSaysToItselfIsTakenOut(chunk: Int) {
        let noise =
            "[vm:77] [[1,0],0] ORTE_ERROR_LOG: Data unpack would read past end of buffer in file show_help.c at line 5\n"
            + "[vm:78] Read -1, expected 17056, errno = 3\nmpirun: Forwarding signal 10 to job\n"
        let kept = "mlp on digits\n[vm:79] mca: something else\n"
        #expect(pass(noise + kept + noise + Self.killed + noise + "end\n", chunk: chunk).passed == kept + "end\n")
        #expect(pass("\rbar [=> ]\u{1B}[K" + noise + "\rbar", chunk: chunk).passed == "\rbar [=> ]\u{1B}[K\rbar")
        #expect(pass("[half", chunk: chunk).passed == "[half")
    }

    @Test func halfALineIsNotHeldBack() {
        var messages = LauncherMessages()
        #expect(messages.receive(Array("\repoch 1".utf8)) == Array("\repoch 1".utf8))
    }

    @Test func aMessageThatDoesNotEndIsPassedOnAtTheEnd() {
        #expect(pass("x" + Self.line + "half", chunk: 9).passed == "xhalf")
        #expect(pass("tail ---", chunk: 3).passed == "tail ---")
    }
}
