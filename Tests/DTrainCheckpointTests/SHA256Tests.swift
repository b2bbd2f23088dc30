import DTrainCheckpoint
import Testing

@Suite struct SHA256Tests {
    /// The examples of FIPS 180-4 and of NIST's test vectors.
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (String(repeating: "a", count: 1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ]) func digestsOfTheStandardAreReproduced(text: String, digest: String) {
        #expect(SHA256.digest(of: text.utf8) == digest)
    }

    @Test func aStreamInPiecesHasTheDigestOfTheWhole() {
        let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        var hash = SHA256()
        for start in stride(from: 0, to: 1000, by: 37) {
            bytes[start..<min(start + 37, 1000)].withUnsafeBytes { hash.update($0) }
        }
        #expect(hash.finish() == SHA256.digest(of: bytes))
    }
}
