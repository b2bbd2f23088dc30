import DTrainReport
import Foundation
import Testing

@Suite struct TerminalTests {
    /// A pseudo-terminal of 97 columns, and the path by which others open it.
    final class PseudoTerminal {
        let descriptor: Int32
        let path: String

        init() throws {
            descriptor = open("/dev/ptmx", O_RDWR | O_NOCTTY)
            // Glibc shows posix_openpt(3) to Swift no more than these two requests (TIOCSPTLCK and TIOCGPTN).
            var unlocked: Int32 = 0
            var number: Int32 = -1
            try #require(
                descriptor >= 0 && ioctl(descriptor, 0x4004_5431, &unlocked) == 0
                    && ioctl(descriptor, 0x8004_5430, &number) == 0)
            path = "/dev/pts/\(number)"
            var size = winsize(ws_row: 24, ws_col: 97, ws_xpixel: 0, ws_ypixel: 0)
            try #require(ioctl(descriptor, UInt(TIOCSWINSZ), &size) == 0)
        }

        deinit { close(descriptor) }
    }

    /// A `/proc` in which process 300 is the child of a shell 200 (whose name has a parenthesis and a space), which is
    /// the child of 100, a launcher; `outputs` are the targets of their descriptor 2.
    func fakeProcesses(
        in directory: String, launcher: [String], outputs: [Int32: String], parent: String = "/bin/bash"
    ) throws -> ProcessTable {
        let commands: [(process: Int32, parent: Int32, arguments: [String])] = [
            (50, 1, [parent]), (100, 50, launcher), (200, 100, ["sh", "-c", "dtrain"]), (300, 200, ["dtrain"]),
        ]
        for (process, parent, arguments) in commands {
            let place = "\(directory)/\(process)"
            try FileManager.default.createDirectory(atPath: place + "/fd", withIntermediateDirectories: true)
            try "\(process) (a) b) S \(parent) 1 1".write(toFile: place + "/stat", atomically: false, encoding: .utf8)
            try arguments.map { $0 + "\0" }.joined()
                .write(toFile: place + "/cmdline", atomically: false, encoding: .utf8)
            try FileManager.default.createSymbolicLink(atPath: place + "/exe", withDestinationPath: arguments[0])
            try FileManager.default.createSymbolicLink(
                atPath: place + "/fd/2", withDestinationPath: outputs[process] ?? "pipe:[1]")
        }
        return ProcessTable(root: directory, current: 300)
    }

    let underOpenMPI = ["OMPI_COMM_WORLD_SIZE": "2", "TERM": "xterm"]

    @Test func underMpirunTheTerminalOfMpirunCounts() throws {
        let terminal = try PseudoTerminal()
        try withTemporaryDirectory { directory in
            let processes = try fakeProcesses(
                in: directory, launcher: ["/usr/bin/mpirun", "-np", "2"], outputs: [100: terminal.path])
            #expect(
                Terminal.watchingStandardError(environment: underOpenMPI, processes: processes)
                    == Terminal(columns: 97, colored: true))
        }
    }

    @Test func underMpirunTheRanksOwnTerminalDoesNotCount() throws {
        let terminal = try PseudoTerminal()
        try withTemporaryDirectory { directory in
            let processes = try fakeProcesses(
                in: directory, launcher: ["mpirun"], outputs: [100: "/tmp/log", 300: terminal.path])
            #expect(Terminal.watchingStandardError(environment: underOpenMPI, processes: processes) == nil)
            #expect(
                Terminal.watchingStandardError(environment: [:], processes: processes)
                    == Terminal(columns: 97, colored: true))
        }
    }

    @Test func underWorkersTheTerminalOfTheParentCounts() throws {
        let terminal = try PseudoTerminal()
        for (parent, expected) in [("dtrain", Terminal(columns: 97, colored: true)), ("/bin/bash", nil)] {
            try withTemporaryDirectory { directory in
                let processes = try fakeProcesses(
                    in: directory, launcher: ["/usr/bin/mpirun"], outputs: [50: terminal.path], parent: parent)
                #expect(Terminal.watchingStandardError(environment: underOpenMPI, processes: processes) == expected)
            }
        }
    }

    @Test func onAnotherHostNobodyWatches() throws {
        let terminal = try PseudoTerminal()
        try withTemporaryDirectory { directory in
            let processes = try fakeProcesses(in: directory, launcher: ["orted"], outputs: [100: terminal.path])
            #expect(Terminal.watchingStandardError(environment: underOpenMPI, processes: processes) == nil)
        }
    }

    @Test func outputThatMpirunRewritesIsNotRedrawn() throws {
        let terminal = try PseudoTerminal()
        try withTemporaryDirectory { directory in
            let processes = try fakeProcesses(
                in: directory, launcher: ["mpirun", "--tag-output", "dtrain"], outputs: [100: terminal.path])
            #expect(Terminal.watchingStandardError(environment: underOpenMPI, processes: processes) == nil)
        }
    }

    @Test func noColorTakesTheColoursAndADumbTerminalTheBar() throws {
        let terminal = try PseudoTerminal()
        try withTemporaryDirectory { directory in
            let processes = try fakeProcesses(in: directory, launcher: ["sh"], outputs: [300: terminal.path])
            let plain = Terminal.watchingStandardError(environment: ["NO_COLOR": "1"], processes: processes)
            #expect(plain == Terminal(columns: 97, colored: false))
            let empty = Terminal.watchingStandardError(environment: ["NO_COLOR": ""], processes: processes)
            #expect(empty?.colored == true)
            #expect(Terminal.watchingStandardError(environment: ["TERM": "dumb"], processes: processes) == nil)
        }
    }
}
