import Foundation
import DTrainTensor

/// The attempts to fill a partial file from one address.
final class DownloadAttempts: TransferSink {
    private let address: String
    private let part: PartialFile
    private let path: String
    private let checksum: Checksum
    private let policy: FetchPolicy
    private let report: (FetchEvent) -> Void

    private var total: Int?
    /// Whether bytes of an earlier transfer stand before those of this one: the file may have changed between.
    private var isMixed = false
    /// Why this side stopped the transfer; nil where the server's answer was not what was asked for.
    private var stopReason: FetchError?
    private var began = 0.0
    private var keptBytes = 0
    private var lastReport = 0.0

    init(
        _ address: String, _ part: PartialFile, path: String, _ checksum: Checksum, _ policy: FetchPolicy,
        _ report: @escaping (FetchEvent) -> Void
    ) {
        self.address = address
        self.part = part
        self.path = path
        self.checksum = checksum
        self.policy = policy
        self.report = report
    }

    /// Returns with the whole file, checked, in the partial file.
    func run() throws(FetchError) {
        var delays = policy.retryDelays[...]
        while true {
            if let failure = try transfer() {
                if failure.kind == .badRange, part.byteCount > 0 {
                    try startOver()
                    continue
                }
                guard failure.isTransient, let delay = delays.popFirst() else { throw .transfer(failure) }
                report(.retrying(failure, afterSeconds: delay))
                usleep(UInt32(delay * 1e6))
                continue
            }
            let digest = try checksum.digest(of: part.path)
            if checksum.accepts(digest) { return }
            // The file may have changed on the server since the first bytes came: all from one transfer decides.
            if isMixed {
                try startOver()
                continue
            }
            let error = FetchError.wrongChecksum(
                address: address, expected: checksum, actual: digest, byteCount: part.byteCount,
                isWebPage: part.isWebPage)
            try part.clear()
            throw error
        }
    }

    private func startOver() throws(FetchError) {
        report(.startingOver(address: address))
        try part.clear()
        total = nil
    }

    /// One attempt; nil when all has come.
    private func transfer() throws(FetchError) -> TransferFailure? {
        keptBytes = part.byteCount
        isMixed = keptBytes > 0
        stopReason = nil
        began = monotonicSeconds()
        lastReport = -.infinity
        report(.started(address: address, keptBytes: keptBytes))
        switch Transfer.run(address, from: keptBytes, policy: policy, into: self) {
        case .done: return nil
        case .stopped:
            if let stopReason { throw stopReason }
            return failure(.badRange, "")
        case .failed(let kind, let detail): return failure(kind, detail)
        }
    }

    private func failure(_ kind: TransferFailure.Kind, _ detail: String) -> TransferFailure {
        TransferFailure(address: address, kind: kind, detail: detail, received: part.byteCount, total: total)
    }

    // MARK: TransferSink

    func begin(firstByte: Int, total newTotal: Int?) -> Bool {
        if firstByte != part.byteCount {
            // A server may ignore the range and send the whole file.
            guard firstByte == 0 else { return false }
            do throws(FetchError) { try part.clear() } catch {
                stopReason = error
                return false
            }
            isMixed = false
            keptBytes = 0
        } else if firstByte > 0, let total, let newTotal, total != newTotal {
            return false
        }
        total = newTotal
        return true
    }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        do throws(FetchError) { try part.append(bytes) } catch {
            stopReason = error
            return false
        }
        let now = monotonicSeconds()
        if now - lastReport >= 0.1 || part.byteCount == total {
            lastReport = now
            let rate = Double(part.byteCount - keptBytes) / max(now - began, 1e-3)
            report(
                .progress(FetchProgress(path: path, received: part.byteCount, total: total, bytesPerSecond: rate)))
        }
        return true
    }
}
