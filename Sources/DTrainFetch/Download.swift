import DTrainTensor
import Foundation

/// A file that is wanted here: where it may come from and what it must be.
public struct Download: Hashable, Sendable {
    /// Tried in order.
    public let addresses: [String]
    /// Where the file goes; the folders above it are created.
    public let path: String
    public let checksum: Checksum

    public init(addresses: [String], path: String, checksum: Checksum) {
        self.addresses = addresses
        self.path = path
        self.checksum = checksum
    }

    /// Sees to it that the file is at `path`, whole and checked.
    ///
    /// A file with the right checksum is left alone; one with another is replaced once the right one is here. Bytes go to
    /// `path.part`, which stays when the transfer fails or the process ends, and is gone on with the next time. Of
    /// several processes that want the same file one fetches and the others wait. Blocks.
    ///
    /// Throws `FetchError`. A server is not asked again for what another attempt cannot change.
    public func run(
        policy: FetchPolicy = FetchPolicy(), report: @escaping (FetchEvent) -> Void = { _ in }
    ) throws(FetchError) {
        if try checksum.matches(path) { return report(.present(path: path)) }
        try FileTree.createDirectories(FilePath.parent(of: path))
        let part = try PartialFile(of: path) { report(.waiting(path: path)) }
        // Another process may have finished it meanwhile.
        if try checksum.matches(path) {
            try part.remove()
            return report(.present(path: path))
        }
        // An earlier one may have been killed between its last byte and the file's new name.
        if part.byteCount > 0, checksum.accepts(try checksum.digest(of: part.path)) {
            try part.commit()
            return report(.fetched(path: path, byteCount: part.byteCount, seconds: 0))
        }
        try fetch(into: part, policy, report)
    }

    private func fetch(
        into part: PartialFile, _ policy: FetchPolicy, _ report: @escaping (FetchEvent) -> Void
    ) throws(FetchError) {
        var errors: [FetchError] = []
        for (index, address) in addresses.enumerated() {
            do {
                let start = monotonicSeconds()
                try DownloadAttempts(address, part, path: path, checksum, policy, report).run()
                try part.commit()
                return report(
                    .fetched(path: path, byteCount: part.byteCount, seconds: monotonicSeconds() - start))
            } catch {
                guard error.isOfTheAddress else { throw error }
                errors.append(error)
                if index + 1 < addresses.count { report(.nextAddress(error)) }
            }
        }
        if part.byteCount == 0 { try? part.remove() }
        throw errors.count == 1 ? errors[0] : .everyAddress(errors)
    }
}
