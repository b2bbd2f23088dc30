/// Passes on what mpirun writes to standard error, without mpirun's own messages about how ranks ended: the parent
/// says that itself, once.
///
/// mpirun frames each of its messages with lines of 74 hyphens. Everything else is passed on as it comes, also half a
/// line, because a progress bar has no newline.
package struct LauncherMessages {
    /// A rank that a signal ended, as mpirun tells it.
    package struct KilledRank: Equatable {
        package var rank: Int
        package var host: String
        package var signal: Int
        /// mpirun's name for the signal: `Killed`.
        package var signalName: String
    }

    package private(set) var killedRank: KilledRank?
    package init() {}

    private var heldHyphens = 0
    private var frame: [UInt8]?
    private static let shortestFrameLine = 60

    /// What of `bytes` to pass on now.
    package mutating func receive(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var passed: [UInt8] = []
        func emit(_ bytes: some Sequence<UInt8>, to frame: inout [UInt8]?) {
            if frame == nil { passed.append(contentsOf: bytes) } else { frame!.append(contentsOf: bytes) }
        }
        for byte in bytes {
            if byte == UInt8(ascii: "-") {
                heldHyphens += 1
            } else if heldHyphens >= Self.shortestFrameLine, byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
                // A terminal's line end is CR LF; the LF that follows a CR is dropped with the frame.
                guard byte == UInt8(ascii: "\n") else { continue }
                heldHyphens = 0
                if let message = frame {
                    frame = nil
                    passed.append(contentsOf: judge(String(decoding: message, as: UTF8.self)))
                } else {
                    frame = []
                }
            } else {
                emit(repeatElement(UInt8(ascii: "-"), count: heldHyphens), to: &frame)
                heldHyphens = 0
                emit(CollectionOfOne(byte), to: &frame)
            }
        }
        return passed
    }

    /// What was held back, at the end of the stream.
    package mutating func finish() -> [UInt8] {
        let rest = (frame ?? []) + [UInt8](repeating: UInt8(ascii: "-"), count: heldHyphens)
        frame = nil
        heldHyphens = 0
        return rest
    }

    /// A framed message, to be passed on whole unless it only tells how a rank ended.
    private mutating func judge(_ message: String) -> [UInt8] {
        if message.contains("MPI_ABORT was invoked") || message.contains("Primary job  terminated normally")
            || message.contains("exiting improperly") || message.contains("non-zero status")
        {
            return []
        }
        // "mpirun noticed that process rank 1 with PID 123 on node host exited on signal 9 (Killed)."
        let words = message.split(whereSeparator: \.isWhitespace).map(String.init)
        func word(after words: [String], from list: [String]) -> String? {
            let count = words.count
            guard list.count > count else { return nil }
            for start in 0..<(list.count - count) where Array(list[start..<start + count]) == words {
                return list[start + count]
            }
            return nil
        }
        if let rank = word(after: ["process", "rank"], from: words).flatMap(Int.init),
            let host = word(after: ["on", "node"], from: words),
            let signal = word(after: ["on", "signal"], from: words).flatMap({ Int($0.filter(\.isNumber)) })
        {
            let name = message.split(separator: "(").dropFirst().first?.prefix { $0 != ")" } ?? ""
            killedRank = killedRank ?? KilledRank(rank: rank, host: host, signal: signal, signalName: String(name))
            return []
        }
        let line = String(repeating: "-", count: 74) + "\n"
        return Array((line + message + line).utf8)
    }
}
