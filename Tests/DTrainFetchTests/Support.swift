import DTrainDigest
import DTrainFetch
import Foundation
import LoopbackServer
import Synchronization
import TestSupport

/// Bytes without a pattern, the same for the same seed.
func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    return (0..<count).map { _ in
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return UInt8(truncatingIfNeeded: state >> 32)
    }
}

/// A folder, a file that is wanted in it, and what was told on the way.
final class Wanted: Sendable {
    let scratch: ScratchDirectory
    let content: [UInt8]
    private let log = Mutex<[FetchEvent]>([])

    init(_ content: [UInt8], scratch: ScratchDirectory? = nil) throws {
        self.content = content
        self.scratch = try scratch ?? ScratchDirectory()
    }

    var path: String { scratch.path + "/file" }
    var events: [FetchEvent] { log.withLock { $0 } }
    var file: [UInt8]? { bytes(path) }
    var part: [UInt8]? { bytes(path + ".part") }
    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: scratch.path)) ?? []).sorted() }

    func bytes(_ path: String) -> [UInt8]? { FileManager.default.contents(atPath: path).map(Array.init) }

    func write(_ bytes: some Sequence<UInt8>, to path: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    /// Fetches it from `addresses`; impatient, so that tests are quick.
    func fetch(
        _ addresses: String..., checksum: Checksum? = nil, stallSeconds: Int = 20, retryDelays: [Double] = [0, 0, 0]
    ) throws(FetchError) {
        let policy = FetchPolicy(connectSeconds: 5, stallSeconds: stallSeconds, retryDelays: retryDelays)
        try Download(
            addresses: addresses, path: path, checksum: checksum ?? .sha256(Digest.of(content, .sha256))
        ).run(policy: policy) { event in self.log.withLock { $0.append(event) } }
    }

    /// The failure of the only address.
    func failure(
        _ address: String, stallSeconds: Int = 20, retryDelays: [Double] = [0, 0, 0]
    ) -> TransferFailure? {
        do {
            try fetch(address, stallSeconds: stallSeconds, retryDelays: retryDelays)
        } catch .transfer(let failure) {
            return failure
        } catch {}
        return nil
    }

    /// A server of the file alone; `change` makes its answers bad.
    func server(
        _ change: @escaping @Sendable (HTTPServer.Response, Int) -> HTTPServer.Response = { response, _ in response }
    ) throws -> HTTPServer {
        let content = content
        return try HTTPServer { request, number in change(.file(content, request), number) }
    }
}
