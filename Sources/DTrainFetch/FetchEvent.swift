/// What a download tells while it works. Events come on the thread that fetches.
public enum FetchEvent: Hashable, Sendable {
    /// The file was here, with the right checksum.
    case present(path: String)
    /// Another process is fetching the same file; this one waits for it.
    case waiting(path: String)
    /// A transfer begins, after `keptBytes` of an earlier one.
    case started(address: String, keptBytes: Int)
    /// At most ten times a second.
    case progress(FetchProgress)
    /// A transient failure; the next attempt comes after a pause.
    case retrying(TransferFailure, afterSeconds: Double)
    /// An address failed for good, and there is another.
    case nextAddress(FetchError)
    /// What was kept of an earlier transfer does not belong to this file.
    case startingOver(address: String)
    /// The file has the right checksum and its name.
    case fetched(path: String, byteCount: Int, seconds: Double)
    /// An archive is whole and is being unpacked into `folder`.
    case unpacking(path: String, folder: String)
}

/// How far a file is.
public struct FetchProgress: Hashable, Sendable {
    public let path: String
    /// Bytes here, those of earlier transfers included.
    public let received: Int
    /// Bytes of the whole file; nil where the server does not say.
    public let total: Int?
    /// Of this transfer alone.
    public let bytesPerSecond: Double
}

/// How patient a download is.
public struct FetchPolicy: Hashable, Sendable {
    /// The longest wait for a connection.
    public var connectSeconds: Int
    /// The longest time without a byte. libcurl averages over five seconds, so it may take as much longer.
    public var stallSeconds: Int
    /// The pauses before each further attempt after a transient failure (a cut connection, a timeout, HTTP 5xx).
    public var retryDelays: [Double]

    public init(connectSeconds: Int = 20, stallSeconds: Int = 60, retryDelays: [Double] = [1, 3, 9]) {
        self.connectSeconds = connectSeconds
        self.stallSeconds = stallSeconds
        self.retryDelays = retryDelays
    }
}
