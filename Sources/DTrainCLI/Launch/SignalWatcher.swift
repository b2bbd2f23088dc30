import DTrainTensor
import Foundation
import Synchronization

/// Turns SIGINT, SIGTERM and SIGUSR1 into a request to stop. A second SIGINT ends the process at once.
///
/// The handler only writes the signal's number into a pipe, which is all that a handler may do; a thread reads it and
/// does the rest. (Blocking the signals and waiting for them would be simpler, but OpenBLAS starts threads before
/// `main` that do not inherit the block.) One watcher a process.
final class SignalWatcher: Sendable {
    private let first = Atomic<Int32>(0)

    /// - Parameters:
    ///   - onFirst: called on the watching thread with the first signal.
    ///   - onSecondInterrupt: called on the watching thread when SIGINT comes after any signal.
    init(
        onFirst: @escaping @Sendable (Int32) -> Void = { _ in },
        onSecondInterrupt: @escaping @Sendable () -> Void = { _exit(128 + SIGINT) }
    ) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { fatalError("no pipe for signals: error \(errno)") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        writeEnd = ends[1]
        let readEnd = ends[0]
        for number in [SIGINT, SIGTERM, SIGUSR1] {
            signal(number) { number in
                let error = errno
                var byte = UInt8(number)
                _ = write(writeEnd, &byte, 1)
                errno = error
            }
        }
        // A reader that goes away (a pipe that closes) must not end training.
        signal(SIGPIPE, SIG_IGN)
        let thread = startThread(named: "dtrain-signals") { [self] in
            var byte: UInt8 = 0
            while true {
                guard read(readEnd, &byte, 1) == 1 else { continue }
                let received = Int32(byte)
                if first.compareExchange(expected: 0, desired: received, ordering: .relaxed).exchanged {
                    onFirst(received)
                } else if received == SIGINT {
                    onSecondInterrupt()
                }
            }
        }
        pthread_detach(thread)
    }

    /// Whether a signal has asked to stop.
    var hasFired: Bool { first.load(ordering: .relaxed) != 0 }
}

/// Where the handler writes: set before the handler is installed and never again.
nonisolated(unsafe) private var writeEnd: Int32 = -1
