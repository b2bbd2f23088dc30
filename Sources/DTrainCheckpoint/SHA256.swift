internal import CCrypto

/// The SHA-256 of a stream of bytes (FIPS 180-4), by the system's libcrypto, which uses the processor's SHA
/// instructions.
public struct SHA256: ~Copyable {
    private let context: OpaquePointer

    public init() {
        context = EVP_MD_CTX_new()!
        let status = EVP_DigestInit_ex(context, EVP_sha256(), nil)
        precondition(status == 1, "libcrypto offers no SHA-256")
    }

    deinit { EVP_MD_CTX_free(context) }

    /// Appends `bytes` to the stream.
    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
        let status = EVP_DigestUpdate(context, base, bytes.count)
        precondition(status == 1)
    }

    /// Ends the stream: the digest as 64 lower-case hexadecimal digits, as sha256sum prints it.
    public consuming func finish() -> String {
        var digest = [UInt8](repeating: 0, count: 32)
        let status = EVP_DigestFinal_ex(context, &digest, nil)
        precondition(status == 1)
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    /// The digest of `bytes`.
    public static func digest(of bytes: some Collection<UInt8>) -> String {
        var hash = SHA256()
        Array(bytes).withUnsafeBytes { hash.update($0) }
        return hash.finish()
    }
}
