import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A request to stop, from a signal or from any thread.
///
/// The trainer adds it to each step's sums, so that all ranks leave after the same step. Only the first request counts.
public final class StopFlag: Sendable {
    private let signal = Atomic<Int32>(0)

    public init() {}

    /// Asks the run to end after the step under way. Safe in a signal handler: one atomic store.
    ///
    /// - Parameter signal: its number, for the reason that the run gives; SIGTERM where no signal is behind it.
    public func request(_ signal: Int32 = SIGTERM) {
        _ = self.signal.compareExchange(expected: 0, desired: signal, ordering: .relaxed)
    }

    /// The first request's signal; 0 while there is none.
    var requestedSignal: Int32 { signal.load(ordering: .relaxed) }

    /// Which of `StopReason` was asked for; nil while nobody did.
    var reason: StopReason? {
        switch signal.load(ordering: .relaxed) {
        case 0: nil
        case SIGINT: .interrupt
        case SIGUSR1: .user
        default: .terminate
        }
    }
}

/// Who asked a run to stop; the raw value is the place in what ranks sum.
enum StopReason: Int, CaseIterable {
    case interrupt, terminate, user

    var name: String {
        switch self {
        case .interrupt: "SIGINT"
        case .terminate: "SIGTERM"
        case .user: "SIGUSR1"
        }
    }
}
