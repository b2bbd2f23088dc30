internal import CCrypto

/// How a stream of bytes becomes a number that stands for it.
public enum DigestAlgorithm: String, Hashable, Sendable {
    /// FIPS 180-4, 32 bytes.
    case sha256 = "SHA-256"
    /// RFC 1321, 16 bytes: recognises damage, not malice; the older data sets are published with it.
    case md5 = "MD5"

    var byteCount: Int {
        switch self {
        case .sha256: 32
        case .md5: 16
        }
    }
}

/// The digest of a stream of bytes, by the system's libcrypto, which uses the processor's SHA instructions.
public struct Digest: ~Copyable {
    private let algorithm: DigestAlgorithm
    private let context: OpaquePointer

    public init(_ algorithm: DigestAlgorithm) {
        self.algorithm = algorithm
        context = EVP_MD_CTX_new()!
        let status =
            switch algorithm {
            case .sha256: EVP_DigestInit_ex(context, EVP_sha256(), nil)
            case .md5: EVP_DigestInit_ex(context, EVP_md5(), nil)
            }
        precondition(status == 1, "libcrypto offers no \(algorithm.rawValue)")
    }

    deinit { EVP_MD_CTX_free(context) }

    /// Appends `bytes` to the stream.
    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
        let status = EVP_DigestUpdate(context, base, bytes.count)
        precondition(status == 1)
    }

    /// Ends the stream: the digest in lower-case hexadecimal digits, two a byte, as sha256sum and md5sum print it.
    public consuming func finish() -> String {
        var digest = [UInt8](repeating: 0, count: algorithm.byteCount)
        let status = EVP_DigestFinal_ex(context, &digest, nil)
        precondition(status == 1)
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    /// The digest of `bytes`.
    public static func of(_ bytes: some Collection<UInt8>, _ algorithm: DigestAlgorithm) -> String {
        var hash = Digest(algorithm)
        Array(bytes).withUnsafeBytes { hash.update($0) }
        return hash.finish()
    }
}
