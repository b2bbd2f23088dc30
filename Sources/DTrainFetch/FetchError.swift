import Foundation

/// A file that could not be fetched (exit code 3).
public enum FetchError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Nothing came, or not all, from the only address.
    case transfer(TransferFailure)
    /// Nothing good came from any of several addresses.
    case everyAddress([FetchError])
    /// The file is whole, but not the one that was wanted; it has been removed. `isWebPage`: it begins as HTML does.
    case wrongChecksum(address: String, expected: Checksum, actual: String, byteCount: Int, isWebPage: Bool)
    /// The operating system refuses something about a file here.
    case fileSystem(operation: String, path: String, code: Int32)
    /// An archive that this program does not unpack; `byte` of the decompressed data.
    case archive(path: String, byte: Int, problem: String)
    /// The archive was unpacked and lacks a file, or has it in another size.
    case archiveContent(path: String, file: String, expectedBytes: Int, actualBytes: Int?)
    /// No variable of the environment says where the cache could be.
    case noCacheDirectory

    public var description: String {
        switch self {
        case .transfer(let failure): failure.description
        case .everyAddress(let errors):
            "none of \(errors.count) addresses has it:\n" + errors.map { "  \($0)" }.joined(separator: "\n")
        case .wrongChecksum(let address, let expected, let actual, let byteCount, let isWebPage):
            "\(address) is not the expected file: its \(expected.algorithm.rawValue) is \(actual) and should "
                + (expected.digits.count < actual.count ? "begin with " : "be ") + expected.digits
                + " (\(byteCount) bytes came"
                + (isWebPage ? ", and they look like a web page" : "") + "; they are removed); try another --mirror"
        case .fileSystem(let operation, let path, let code):
            "cannot \(operation) \(path): \(String(cString: strerror(code)))"
                + (code == ENOSPC || code == EDQUOT
                    ? "; make room and repeat the command: it goes on where it was" : "")
        case .archive(let path, let byte, let problem):
            "\(path) cannot be unpacked: \(problem), at byte \(byte) (decompressed)"
        case .archiveContent(let path, let file, let expected, let actual):
            "\(path) holds " + (actual.map { "\(file) with \($0) bytes" } ?? "no \(file)")
                + "; it should have \(expected) bytes"
        case .noCacheDirectory:
            "there is no place for the cache: set DTRAIN_CACHE (or HOME), or give --output DIR"
        }
    }

    /// Whether another address may do better.
    var isOfTheAddress: Bool {
        switch self {
        case .transfer(let failure): failure.kind != .noLibrary
        case .wrongChecksum: true
        default: false
        }
    }
}

/// Why the bytes of an address did not come.
public struct TransferFailure: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Kind: Hashable, Sendable {
        case noLibrary, badAddress, hostNotFound, noConnection, untrusted, timeout, cut, status(Int), redirects,
            noSuchFile, badRange, other
    }

    public let address: String
    public let kind: Kind
    /// What libcurl says of it.
    public let detail: String
    /// Bytes that are kept here, and those of the whole file where the server said it.
    public let received: Int
    public let total: Int?

    public var description: String {
        let kept = "\(received)\(total.map { " of \($0)" } ?? "") bytes"
        let goOn = received > 0 ? "; repeat the command: it goes on after \(kept)" : ""
        return switch kind {
        case .noLibrary:
            "cannot fetch \(address): libcurl.so.4 cannot be loaded; install it (apt install libcurl4)"
        case .badAddress: "cannot fetch \(address): \(detail); give an address of http, https or file"
        case .hostNotFound:
            "cannot fetch \(address): \(detail); check the network and the proxy (https_proxy), or give --mirror URL"
        case .noConnection: "cannot fetch \(address): \(detail); check the network, or give --mirror URL"
        case .untrusted:
            "cannot fetch \(address) safely: \(detail); check the clock and the machine's certificates "
                + "(apt install ca-certificates)"
        case .timeout: "\(address) is too slow: \(detail)\(goOn)"
        case .cut: "the connection to \(address) ended too early, with \(kept): \(detail)\(goOn)"
        case .status(let status):
            "\(address) is not there: HTTP status \(status)\(Self.meaning(status))\(goOn)"
        case .redirects: "cannot fetch \(address): it leads from one address to the next more than ten times"
        case .noSuchFile: "cannot fetch \(address): there is no such file, or it may not be read"
        case .badRange: "\(address) does not send the part of the file that was asked for; remove FILE.part and repeat"
        case .other: "cannot fetch \(address): \(detail)\(goOn)"
        }
    }

    private static func meaning(_ status: Int) -> String {
        switch status {
        case 401, 407: " (it wants a password)"
        case 403: " (forbidden)"
        case 404, 410: " (not found)"
        case 429: " (too many requests; wait a while)"
        case 500...: " (the server has a problem)"
        default: ""
        }
    }

    /// Whether the same address may do better in a moment.
    var isTransient: Bool {
        switch kind {
        case .timeout, .cut: true
        case .status(let status): status == 408 || status == 429 || status >= 500
        default: false
        }
    }
}

/// A wrong request to fetch (exit code 2).
public enum FetchUsageError: Error, Hashable, Sendable, CustomStringConvertible {
    case unknownName(name: String, suggestion: String, valid: [String])
    case unknownWeights(model: String, suggestion: String, valid: [String])
    case unknownVersion(model: String, version: String, valid: [String])
    case badMirror(String)

    public var description: String {
        switch self {
        case .unknownName(let name, let suggestion, let valid):
            "nothing called '\(name)' can be fetched\(suggestion); valid: \(valid.joined(separator: ", "))"
        case .unknownWeights(let model, let suggestion, let valid):
            "there are no official weights of '\(model)'\(suggestion); valid: \(valid.joined(separator: ", "))"
        case .unknownVersion(let model, let version, let valid):
            "there are no weights '\(version)' of \(model); valid: \(valid.joined(separator: ", "))"
        case .badMirror(let text):
            "--mirror '\(text)' is not valid: give an address of http, https or file, "
                + "such as https://mirror.example.org/data/"
        }
    }
}
