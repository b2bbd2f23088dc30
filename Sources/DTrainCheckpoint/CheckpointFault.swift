#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Death in the middle of a checkpoint write, for tests (the hidden option `--fault`): the process sends itself
/// SIGKILL after an exact number of bytes or at a named point, so that no test depends on timing.
///
/// It counts over all checkpoint writes of the process, which one thread at a time makes.
public final class CheckpointFault: @unchecked Sendable {
    /// The places between the writes, in their order.
    public enum Point: String, CaseIterable, Sendable {
        /// All files are written and synced under the temporary name.
        case beforeRename = "before-rename"
        /// An older checkpoint of the same name has been moved aside, the new one is not in its place yet.
        case movedAside = "moved-aside"
        /// The new checkpoint has its name; the parent is not synced and the older one not removed yet.
        case afterRename = "after-rename"
    }

    private enum Trigger {
        case byte(Int)
        case point(Point)
    }

    private let trigger: Trigger
    private var written = 0

    /// Reads `kill@checkpoint:BYTES` or `kill@checkpoint:POINT`.
    public init(_ text: String) throws(CheckpointFaultError) {
        let prefix = "kill@checkpoint:"
        let argument = text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : ""
        if let point = Point(rawValue: argument) {
            trigger = .point(point)
        } else if let bytes = Int(argument), bytes >= 0 {
            trigger = .byte(bytes)
        } else {
            throw CheckpointFaultError(text: text)
        }
    }

    /// Counts `count` bytes about to be written. Where the deadly byte lies among them: how many of them to write before
    /// calling `die`.
    func deadlyCount(in count: Int) -> Int? {
        defer { written += count }
        guard case .byte(let limit) = trigger, written + count > limit else { return nil }
        return limit - written
    }

    func reach(_ point: Point) {
        if case .point(let deadly) = trigger, deadly == point { die() }
    }

    func die() -> Never {
        kill(getpid(), SIGKILL)
        while true { pause() }
    }
}

/// A `--fault` that says nothing known.
public struct CheckpointFaultError: Error, Hashable, Sendable, CustomStringConvertible {
    public let text: String

    public init(text: String) { self.text = text }

    public var description: String {
        let points = CheckpointFault.Point.allCases.map(\.rawValue).joined(separator: ", ")
        return "fault '\(text)' is unknown: write kill@checkpoint: and a number of bytes or one of \(points)"
    }
}
