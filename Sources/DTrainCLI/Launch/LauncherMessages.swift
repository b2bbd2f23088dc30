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
    /// A line outside of frames that may be one of mpirun's own; its end tells.
    private var heldLine: [UInt8]?
    private var isAtLineStart = true
    private var lastBytes: [UInt8] = []
    /// What a progress bar ends with: whatever comes next is a text of its own.
    private static let barEnd = Array("\u{1B}[K".utf8)
    private static let shortestFrameLine = 60

    /// What of `bytes` to pass on now.
    package mutating func receive(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var passed: [UInt8] = []
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
                passed += emit(repeatElement(UInt8(ascii: "-"), count: heldHyphens))
                heldHyphens = 0
                passed += emit(CollectionOfOne(byte))
            }
        }
        return passed
    }

    /// Adds `bytes` to the frame that is open; elsewhere, returns what of them to pass on.
    private mutating func emit(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        if frame == nil { return bytes.flatMap { passLine($0) } }
        frame!.append(contentsOf: bytes)
        return []
    }

    /// What to pass on of a text outside of frames at its next byte: lines that mpirun itself may have written are held
    /// until they end, and left out where they tell nothing.
    private mutating func passLine(_ byte: UInt8) -> [UInt8] {
        let isLineEnd = byte == UInt8(ascii: "\n")
        if isAtLineStart, byte == UInt8(ascii: "[") || byte == UInt8(ascii: "m") { heldLine = [] }
        lastBytes = lastBytes.suffix(Self.barEnd.count - 1) + [byte]
        isAtLineStart = isLineEnd || lastBytes == Self.barEnd
        guard let held = heldLine else { return [byte] }
        let line = held + [byte]
        heldLine = isLineEnd ? nil : line
        return isLineEnd && !Self.isNoise(String(decoding: line, as: UTF8.self)) ? line : []
    }

    /// Lines of mpirun and its library that a rank's end, or a signal passed on, can cause.
    private static func isNoise(_ line: String) -> Bool {
        line.hasPrefix("mpirun: Forwarding signal")
            || line.hasPrefix("[")
                && (line.contains("ORTE_ERROR_LOG: Data unpack") || line.contains("Read -1, expected"))
    }

    /// What was held back, at the end of the stream.
    package mutating func finish() -> [UInt8] {
        let rest = (heldLine ?? []) + (frame ?? []) + [UInt8](repeating: UInt8(ascii: "-"), count: heldHyphens)
        heldLine = nil
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
