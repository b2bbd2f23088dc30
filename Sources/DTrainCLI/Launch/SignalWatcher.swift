import DTrainTensor
import Foundation
import Synchronization

/// Turns SIGINT, SIGTERM and SIGUSR1 into a request to stop. A second SIGINT ends the process at once.
///
/// The signals are blocked in every thread and one thread waits for them, so what happens on a signal is ordinary
/// code. Make it before any other thread starts: threads inherit the blocked signals.
final class SignalWatcher: Sendable {
    private let first = Atomic<Int32>(0)

    /// - Parameters:
    ///   - onFirst: called on the watching thread with the first signal.
    ///   - onSecondInterrupt: called on the watching thread when SIGINT comes after any signal.
    init(
        onFirst: @escaping @Sendable (Int32) -> Void = { _ in },
        onSecondInterrupt: @escaping @Sendable () -> Void = { _exit(128 + SIGINT) }
    ) {
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGINT, SIGTERM, SIGUSR1] { sigaddset(&signals, signal) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        // A reader that goes away (a pipe that closes) must not end training.
        signal(SIGPIPE, SIG_IGN)
        let watched = signals
        let thread = startThread(named: "dtrain-signals") { [self] in
            var watched = watched
            while true {
                var received: Int32 = 0
                guard sigwait(&watched, &received) == 0 else { continue }
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
