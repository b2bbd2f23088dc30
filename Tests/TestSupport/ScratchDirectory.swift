import Foundation

/// A new empty directory that is removed, with all in it, when its owner goes; or a small disk of its own.
public final class ScratchDirectory: Sendable {
    public let path: String
    private let isMounted: Bool

    public init() throws {
        path = try Self.create()
        isMounted = false
    }

    /// A disk of `kilobytes` in memory (tmpfs), for tests of a full or read-only disk; `canMount` says whether this
    /// machine allows it.
    public init(diskOfKilobytes kilobytes: Int) throws {
        path = try Self.create()
        isMounted = true
        try Self.mount(["-t", "tmpfs", "-o", "size=\(kilobytes)k", "tmpfs", path])
    }

    deinit {
        if isMounted { _ = try? runProcess("umount", [path]) }
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Makes the disk read-only, even for root.
    public func makeReadOnly() throws { try Self.mount(["-o", "remount,ro", path]) }

    /// Whether this process may mount a disk; without that, tests of full and read-only disks are skipped.
    public static let canMount = (try? ScratchDirectory(diskOfKilobytes: 4)) != nil

    private static func create() throws -> String {
        var template = Array((NSTemporaryDirectory() + "/dtrain-test-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw ProcessError(description: "mkdtemp: error \(errno)") }
        return template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    private static func mount(_ arguments: [String]) throws {
        let outcome = try runProcess("mount", arguments)
        guard outcome.status == 0 else { throw ProcessError(description: "mount: \(outcome.stderr)") }
    }
}
