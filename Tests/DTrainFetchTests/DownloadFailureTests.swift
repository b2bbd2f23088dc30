import DTrainDigest
import DTrainFetch
import Foundation
import LoopbackServer
import TestSupport
import Testing

/// A download that fails: the error says why, and what is good of the bytes is kept.
@Suite struct DownloadFailureTests {
    @Test func aMissingFileIsNotAskedForTwice() throws {
        let wanted = try Wanted(noise(10))
        let server = try HTTPServer { _, _ in HTTPServer.Response(status: 404, body: Array("<html>no".utf8)) }
        let failure = try #require(wanted.failure(server.address + "x"))
        #expect(failure.kind == .status(404) && failure.address == server.address + "x")
        #expect("\(failure)" == "\(server.address)x is not there: HTTP status 404 (not found)")
        #expect(server.requests.count == 1 && wanted.names.isEmpty)
    }

    @Test func aWrongChecksumNamesBothDigests() throws {
        let wanted = try Wanted(noise(1_000))
        let wrong = noise(1_000, seed: 5)
        let server = try HTTPServer { request, _ in .file(wrong, request) }
        let (expected, actual) = (Digest.of(wanted.content, .sha256), Digest.of(wrong, .sha256))
        let error = #expect(throws: FetchError.self) { try wanted.fetch(server.address) }
        #expect(
            error
                == .wrongChecksum(
                    address: server.address, expected: .sha256(expected), actual: actual, byteCount: 1_000,
                    isWebPage: false))
        let text = error.map { "\($0)" } ?? ""
        #expect(text.contains(expected) && text.contains(actual) && text.contains(server.address))
        #expect(wanted.names.isEmpty && server.requests.count == 1)
    }

    @Test func aWebPageIsRecognised() throws {
        let wanted = try Wanted(noise(1_000))
        let page = Array("<!DOCTYPE html><html><body>Please log in".utf8)
        let server = try HTTPServer { _, _ in HTTPServer.Response(body: page) }
        let error = #expect(throws: FetchError.self) { try wanted.fetch(server.address) }
        #expect(error.map { "\($0)".contains("they look like a web page") } == true)
    }

    @Test func aPrefixOfADigestCounts() throws {
        let wanted = try Wanted(noise(100))
        let digest = Digest.of(wanted.content, .sha256)
        let server = try wanted.server()
        try wanted.fetch(server.address, checksum: .sha256(String(digest.prefix(8))))
        #expect(wanted.file == wanted.content)

        let other = try Wanted(noise(100))
        #expect(throws: FetchError.self) { try other.fetch(server.address, checksum: .sha256("00000000")) }
        #expect(other.names.isEmpty)
    }

    @Test func aServerThatFallsSilentIsLeft() throws {
        let wanted = try Wanted(noise(50_000))
        let server = try wanted.server { response, _ in
            var response = response.cut(after: 20_000)
            response.stallSeconds = 40
            return response
        }
        let start = monotonicSeconds()
        let failure = try #require(wanted.failure(server.address, stallSeconds: 1, retryDelays: []))
        #expect(failure.kind == .timeout && failure.received == 20_000 && failure.total == 50_000)
        #expect(monotonicSeconds() - start < 25)
        #expect(wanted.part == Array(wanted.content.prefix(20_000)), "the next time goes on here")
    }

    @Test func aHugeLengthWithAShortBody() throws {
        let wanted = try Wanted(noise(10_000))
        let server = try wanted.server { response, _ in
            var response = response
            response.declaredLength = 1 << 40
            return response
        }
        let failure = try #require(wanted.failure(server.address, retryDelays: []))
        #expect(failure.kind == .cut && failure.received == 10_000 && failure.total == 1 << 40)
        #expect("\(failure)".contains("10000 of 1099511627776 bytes"))
        #expect(wanted.part?.count == 10_000)
    }

    @Test func aCutChunkedBodyIsNotWhole() throws {
        let wanted = try Wanted(noise(30_000))
        let server = try wanted.server { response, _ in
            var response = response.cut(after: 20_000)
            response.isChunked = true
            return response
        }
        let failure = try #require(wanted.failure(server.address, retryDelays: []))
        #expect(failure.kind == .cut && failure.received == 20_000)
    }

    @Test func patienceEnds() throws {
        let wanted = try Wanted(noise(1_000))
        let server = try HTTPServer { _, _ in HTTPServer.Response(status: 500) }
        #expect(wanted.failure(server.address)?.kind == .status(500))
        #expect(server.requests.count == 4)
    }

    @Test func nobodyListens() throws {
        let wanted = try Wanted(noise(10))
        let server = try HTTPServer { _, _ in HTTPServer.Response() }
        server.stop()
        #expect(wanted.failure(server.address)?.kind == .noConnection)
    }

    @Test func noSuchHost() throws {
        let wanted = try Wanted(noise(10))
        let failure = try #require(wanted.failure("http://no-such-host.invalid/file"))
        #expect(failure.kind == .hostNotFound && "\(failure)".contains("no-such-host.invalid"))
    }

    @Test func aServerWithoutTLS() throws {
        let wanted = try Wanted(noise(10))
        let server = try wanted.server()
        #expect(wanted.failure("https://127.0.0.1:\(server.port)/file")?.kind == .untrusted)
    }

    @Test func redirectsDoNotGoInCircles() throws {
        let wanted = try Wanted(noise(10))
        let server = try HTTPServer { _, _ in HTTPServer.Response(status: 301, headers: ["Location": "/again"]) }
        #expect(wanted.failure(server.address)?.kind == .redirects)
        #expect(server.requests.count == 11)
    }

    @Test func aRedirectReadsNoFileOfThisMachine() throws {
        let wanted = try Wanted(noise(10))
        let secret = try ScratchDirectory()
        try wanted.write(wanted.content, to: secret.path + "/secret")
        let server = try HTTPServer { _, _ in
            HTTPServer.Response(status: 302, headers: ["Location": "file://\(secret.path)/secret"])
        }
        #expect(wanted.failure(server.address)?.kind == .badAddress)
        #expect(wanted.names.isEmpty)
    }

    @Test(arguments: ["ftp://127.0.0.1/file", "gopher://127.0.0.1/file", "http://", "nonsense://x/"])
    func otherProtocolsAreRefused(address: String) throws {
        #expect(try Wanted(noise(10)).failure(address)?.kind == .badAddress)
    }

    @Test func aMissingFileOfAFileAddress() throws {
        let wanted = try Wanted(noise(10))
        #expect(wanted.failure("file://\(wanted.scratch.path)/none")?.kind == .noSuchFile)
    }

    @Test func everyAddressIsNamed() throws {
        let wanted = try Wanted(noise(10))
        let first = try HTTPServer { _, _ in HTTPServer.Response(status: 404) }
        let second = try HTTPServer { _, _ in HTTPServer.Response(status: 403) }
        let error = #expect(throws: FetchError.self) { try wanted.fetch(first.address, second.address) }
        let text = error.map { "\($0)" } ?? ""
        #expect(text.hasPrefix("none of 2 addresses has it:\n"))
        #expect(text.contains("\(first.address) is not there: HTTP status 404"))
        #expect(text.contains("\(second.address) is not there: HTTP status 403 (forbidden)"))
    }

    @Test func aFolderInTheWayIsSaidAtOnce() throws {
        let wanted = try Wanted(noise(10))
        let server = try wanted.server()
        try FileManager.default.createDirectory(atPath: wanted.path, withIntermediateDirectories: false)
        #expect(throws: FetchError.fileSystem(operation: "replace", path: wanted.path, code: EISDIR)) {
            try wanted.fetch(server.address)
        }
        #expect(server.requests.isEmpty)
    }

    @Test(.enabled(if: ScratchDirectory.canMount)) func aFullDiskKeepsWhatItHolds() throws {
        let disk = try ScratchDirectory(diskOfKilobytes: 64)
        let wanted = try Wanted(noise(200_000), scratch: disk)
        let server = try wanted.server()
        let error = #expect(throws: FetchError.self) { try wanted.fetch(server.address) }
        #expect(error == .fileSystem(operation: "write", path: wanted.path + ".part", code: ENOSPC))
        #expect(error.map { "\($0)".contains("make room and repeat the command") } == true)
        #expect(server.requests.count == 1)
        let part = try #require(wanted.part)
        #expect(part.count > 30_000 && part == Array(wanted.content.prefix(part.count)))
    }
}
