import Foundation

/// Where the command writes: results for people and machines to standard output, all else to standard error.
enum Console {
    /// Writes to standard output.
    static func result(_ text: String) { write(text, to: 1) }
    /// Writes to standard error.
    static func diagnostic(_ text: String) { write(text, to: 2) }

    static func write(_ text: String, to descriptor: Int32) { write(Array(text.utf8), to: descriptor) }

    /// Unbuffered, so that text of several ranks is not torn more than need be. A reader that has gone away is no
    /// reason to stop training.
    static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR || errno == EAGAIN { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
