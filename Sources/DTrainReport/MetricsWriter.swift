import DTrainEvents
import Foundation
import Synchronization

/// Appends every event to `metrics.jsonl`, one JSON object a line.
///
/// A line reaches the file in one write or not at all, so that a reader, and a run that was killed, never sees half of
/// one. When the disk refuses a line, training goes on: `onFailure` hears of it once.
package final class MetricsWriter: EventSink {
    private let descriptor: Int32
    private let path: String
    private let onFailure: @Sendable (String) -> Void
    private let failed = Mutex(false)

    /// Opens `path`, creating it. With `keepingSteps`, the file of a run that is resumed at that step, lines of later
    /// steps and a torn last line are dropped first.
    /// Throws `MetricsError` where the file cannot be read, rewritten or opened.
    package init(
        path: String, keepingSteps lastStep: Int? = nil, onFailure: @escaping @Sendable (String) -> Void
    ) throws {
        self.path = path
        self.onFailure = onFailure
        if let lastStep { try Self.cutBack(path, to: lastStep) }
        descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        if descriptor < 0 { throw MetricsError(path: path, reason: String(cString: strerror(errno))) }
    }

    deinit { close(descriptor) }

    package func receive(_ event: Event) {
        let bytes = Array((event.json.text + "\n").utf8)
        failed.withLock { failed in
            let end = lseek(descriptor, 0, SEEK_END)
            let written = write(descriptor, bytes, bytes.count)
            guard written != bytes.count else { return }
            let reason = written < 0 ? String(cString: strerror(errno)) : "no space left on the device"
            if written > 0, end >= 0 { ftruncate(descriptor, end) }
            if !failed { onFailure("\(path): \(reason); lines are missing from it from here on") }
            failed = true
        }
    }

    private static func cutBack(_ path: String, to lastStep: Int) throws {
        guard FileManager.default.fileExists(atPath: path) else { return }
        do {
            let old = try Data(contentsOf: URL(fileURLWithPath: path))
            var kept = Data(capacity: old.count)
            for line in old.split(separator: UInt8(ascii: "\n")) {
                guard let object = try? JSONSerialization.jsonObject(with: line) as? [String: Any] else { continue }
                if let step = object["step"] as? Int, step > lastStep { continue }
                kept.append(line)
                kept.append(UInt8(ascii: "\n"))
            }
            if kept != old { try kept.write(to: URL(fileURLWithPath: path), options: .atomic) }
        } catch {
            throw MetricsError(path: path, reason: error.localizedDescription)
        }
    }
}

/// `metrics.jsonl` cannot be opened or cut back to the step at which the run resumes.
package struct MetricsError: Error, Sendable, CustomStringConvertible {
    package let path: String
    package let reason: String

    package var description: String {
        "\(path): cannot write the metrics: \(reason); free space or correct the permissions, or choose another --out."
    }
}
