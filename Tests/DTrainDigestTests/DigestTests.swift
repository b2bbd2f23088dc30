import DTrainDigest
import Testing

@Suite struct DigestTests {
    /// The examples of FIPS 180-4 and of NIST's test vectors.
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (String(repeating: "a", count: 1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ]) func sha256IsThatOfTheStandard(text: String, digest: String) {
        #expect(Digest.of(text.utf8, .sha256) == digest)
    }

    /// The test suite of RFC 1321, appendix A.5.
    @Test(arguments: [
        ("", "d41d8cd98f00b204e9800998ecf8427e"), ("abc", "900150983cd24fb0d6963f7d28e17f72"),
        (
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "57edf4a22be3c955ac49da2e2107b67a"
        ),
    ]) func md5IsThatOfTheStandard(text: String, digest: String) {
        #expect(Digest.of(text.utf8, .md5) == digest)
    }

    @Test(arguments: [DigestAlgorithm.sha256, .md5]) func aStreamInPiecesHasTheDigestOfTheWhole(
        algorithm: DigestAlgorithm
    ) {
        let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        var hash = Digest(algorithm)
        for start in stride(from: 0, to: 1000, by: 37) {
            bytes[start..<min(start + 37, 1000)].withUnsafeBytes { hash.update($0) }
        }
        #expect(hash.finish() == Digest.of(bytes, algorithm))
    }
}
