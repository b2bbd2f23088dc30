/// What went wrong between the ranks: each case names the operation, the rank and the host, and says what to do.
public enum CommunicationError: Error, Hashable, CustomStringConvertible, Sendable {
    /// A rank of the job and the host that it runs on.
    public struct Peer: Hashable, Sendable {
        public let rank: Int
        public let host: String
        public init(rank: Int, host: String) {
            self.rank = rank
            self.host = host
        }
    }

    /// An operation failed on `rank`; `reason` is the message passing library's own text.
    case failed(operation: String, rank: Int, host: String, reason: String)
    /// `missing` did not arrive at an operation that this rank has waited in for `seconds`, together with the ranks
    /// `waiting`, itself included. `operation` reads `all-reduce #1234`: the 1234th collective of this group.
    case stalled(operation: String, rank: Int, host: String, seconds: Double, missing: [Peer], waiting: [Int])
    /// All ranks had arrived, but the exchange itself does not end: a host or the network between them was lost.
    case unfinished(operation: String, rank: Int, host: String, seconds: Double, hosts: [String])
    /// Communication cannot start at all: the launcher or the library does not offer what is needed.
    case unavailable(reason: String)

    public var description: String {
        switch self {
        case .failed(let operation, let rank, let host, let reason):
            return "rank \(rank) (host \(host)): \(operation) failed: \(reason). "
                + "Another rank has probably ended: look for its message, then start again with --resume auto."
        case .stalled(let operation, let rank, let host, let seconds, let missing, _):
            let hosts = Set(missing.map(\.host)).sorted().joined(separator: ", ")
            let head: String
            if missing.isEmpty {
                head = "all ranks wait in \(operation) since \(text(seconds)) s and it does not complete"
            } else {
                head =
                    "\(plural("rank", missing.map(\.rank))) (\(plural("host", missing.map(\.host)))) "
                    + "did not arrive at \(operation) within \(text(seconds)) s"
            }
            return "rank \(rank) (host \(host)): \(head). Look whether the process still runs and the network is up "
                + "on \(missing.isEmpty ? "all hosts" : hosts), then start again with --resume auto."
        case .unfinished(let operation, let rank, let host, let seconds, let hosts):
            return "rank \(rank) (host \(host)): \(operation) began on all ranks but did not end within "
                + "\(text(seconds)) s: a process, a host or the network between \(Set(hosts).sorted().joined(separator: ", ")) "
                + "was lost. Look there, then start again with --resume auto."
        case .unavailable(let reason):
            return reason
        }
    }
}

/// `rank 3`, or `ranks 3, 5`; each value once.
private func plural(_ noun: String, _ values: [some Hashable & CustomStringConvertible]) -> String {
    var distinct: [String] = []
    for value in values.map(\.description) where !distinct.contains(value) { distinct.append(value) }
    return noun + (distinct.count == 1 ? " " : "s ") + distinct.joined(separator: ", ")
}

private func text(_ seconds: Double) -> String {
    seconds >= 10 ? String(Int(seconds.rounded())) : String((seconds * 10).rounded() / 10)
}
