import DTrainDigest
import DTrainFetch
import Foundation
import LoopbackServer
import TestSupport
import Testing

/// A download that ends well, whatever the server does on the way.
@Suite struct DownloadTests {
    @Test func aWholeFile() throws {
        let wanted = try Wanted(noise(300_000))
        let server = try wanted.server()
        try wanted.fetch(server.address + "file")
        #expect(wanted.file == wanted.content && wanted.names == ["file"])
        let progress = wanted.events.compactMap { event in
            if case .progress(let progress) = event { progress } else { nil }
        }
        #expect(progress.last?.received == 300_000 && progress.allSatisfy { $0.total == 300_000 })
        #expect(zip(progress, progress.dropFirst()).allSatisfy { $0.received <= $1.received })
        guard case .fetched(wanted.path, 300_000, _) = wanted.events.last else {
            Issue.record("the end is not told: \(String(describing: wanted.events.last))")
            return
        }
    }

    @Test func anEmptyFile() throws {
        let wanted = try Wanted([])
        try wanted.fetch(try wanted.server().address)
        #expect(wanted.file == [])
    }

    @Test func foldersAreCreated() throws {
        let scratch = try ScratchDirectory()
        let wanted = try Wanted(noise(10))
        let path = scratch.path + "/a/b/file"
        try Download(
            addresses: [wanted.server().address], path: path, checksum: .md5(Digest.of(wanted.content, .md5))
        ).run()
        #expect(wanted.bytes(path) == wanted.content)
    }

    @Test func aRedirectIsFollowed() throws {
        let wanted = try Wanted(noise(5_000))
        let content = wanted.content
        let server = try HTTPServer { request, _ in
            request.target == "/old"
                ? HTTPServer.Response(status: 302, headers: ["Location": "/new"], body: Array("moved".utf8))
                : .file(content, request)
        }
        try wanted.fetch(server.address + "old")
        #expect(wanted.file == content && server.requests.map(\.target) == ["/old", "/new"])
    }

    @Test func whatIsHereIsNotFetchedAgain() throws {
        let wanted = try Wanted(noise(200_000))
        let server = try wanted.server()
        try wanted.write(wanted.content.prefix(150_000), to: wanted.path + ".part")
        try wanted.fetch(server.address)
        #expect(wanted.file == wanted.content && server.bodyBytes == 50_000)
        #expect(server.requests.map(\.rangeStart) == [150_000])
        #expect(wanted.events.first == .started(address: server.address, keptBytes: 150_000))

        try wanted.fetch(server.address)
        #expect(server.requests.count == 1, "a whole file with the right checksum needs no server")
        #expect(wanted.events.last == .present(path: wanted.path))
    }

    @Test func aPartThatIsWholeNeedsNoServer() throws {
        let wanted = try Wanted(noise(1_000))
        let server = try wanted.server()
        try wanted.write(wanted.content, to: wanted.path + ".part")
        try wanted.fetch(server.address)
        #expect(wanted.file == wanted.content && server.requests.isEmpty && wanted.names == ["file"])
    }

    @Test func anotherFileOfThatNameIsReplaced() throws {
        let wanted = try Wanted(noise(1_000))
        try wanted.write(noise(1_000, seed: 2), to: wanted.path)
        try wanted.fetch(try wanted.server().address)
        #expect(wanted.file == wanted.content)
    }

    @Test func aServerThatIgnoresTheRangeSendsAllAgain() throws {
        let wanted = try Wanted(noise(200_000))
        let content = wanted.content
        let server = try HTTPServer { _, _ in HTTPServer.Response(body: content) }
        try wanted.write(content.prefix(150_000), to: wanted.path + ".part")
        try wanted.fetch(server.address)
        #expect(wanted.file == content && server.bodyBytes == 200_000)
    }

    @Test func aCutConnectionIsGoneOnWith() throws {
        let wanted = try Wanted(noise(200_000))
        let server = try wanted.server { response, number in
            number == 0 ? response.cut(after: 70_000) : number == 1 ? response.cut(after: 60_000) : response
        }
        try wanted.fetch(server.address)
        #expect(wanted.file == wanted.content && server.bodyBytes == 200_000)
        #expect(server.requests.map(\.rangeStart) == [nil, 70_000, 130_000])
    }

    @Test func aBusyServerIsAskedAgain() throws {
        let wanted = try Wanted(noise(1_000))
        let server = try wanted.server { response, number in
            number < 2 ? HTTPServer.Response(status: 503, body: Array("busy".utf8)) : response
        }
        try wanted.fetch(server.address)
        #expect(wanted.file == wanted.content && server.requests.count == 3)
    }

    @Test func aChunkedBodyHasNoTotal() throws {
        let wanted = try Wanted(noise(30_000))
        let server = try wanted.server { response, _ in
            var response = response
            response.isChunked = true
            return response
        }
        try wanted.fetch(server.address)
        #expect(wanted.file == wanted.content)
        #expect(
            wanted.events.contains { event in
                if case .progress(let progress) = event { progress.total == nil } else { false }
            })
    }

    /// The rest of a newer file behind the start of an older one has a wrong checksum.
    @Test func theStartOfAnotherFileIsFetchedAnew() throws {
        let wanted = try Wanted(noise(100_000))
        let server = try wanted.server()
        try wanted.write(noise(40_000, seed: 9), to: wanted.path + ".part")
        try wanted.fetch(server.address)
        #expect(wanted.file == wanted.content && server.requests.map(\.rangeStart) == [40_000, nil])
        #expect(wanted.events.contains(.startingOver(address: server.address)))
    }

    @Test func aPartLongerThanTheFileIsFetchedAnew() throws {
        let wanted = try Wanted(noise(1_000))
        let server = try wanted.server()
        try wanted.write(noise(2_000), to: wanted.path + ".part")
        try wanted.fetch(server.address)
        #expect(wanted.file == wanted.content && server.requests.map(\.rangeStart) == [2_000, nil])
    }

    @Test func aWrongRangeIsFetchedAnew() throws {
        let wanted = try Wanted(noise(1_000))
        let server = try wanted.server { response, _ in
            guard response.status == 206 else { return response }
            var wrong = response
            wrong.headers["Content-Range"] = "bytes 10-999/1000"
            return wrong
        }
        try wanted.write(wanted.content.prefix(500), to: wanted.path + ".part")
        try wanted.fetch(server.address)
        #expect(wanted.file == wanted.content && server.requests.map(\.rangeStart) == [500, nil])
    }

    @Test func theNextAddressHelps() throws {
        let wanted = try Wanted(noise(1_000))
        let bad = try HTTPServer { _, _ in HTTPServer.Response(status: 404) }
        let wrong = try HTTPServer { _, _ in HTTPServer.Response(body: noise(1_000, seed: 3)) }
        let good = try wanted.server()
        try wanted.fetch(bad.address, wrong.address, good.address)
        #expect(wanted.file == wanted.content && wanted.names == ["file"])
        #expect(bad.requests.count == 1 && wrong.requests.count == 1)
    }

    @Test func aFileAddress() throws {
        let wanted = try Wanted(noise(100_000))
        let source = try ScratchDirectory()
        try wanted.write(wanted.content, to: source.path + "/source")
        try wanted.write(wanted.content.prefix(60_000), to: wanted.path + ".part")
        try wanted.fetch("file://" + source.path + "/source")
        #expect(wanted.file == wanted.content)
        #expect(!wanted.events.contains(.startingOver(address: "file://" + source.path + "/source")))
    }

    /// Locks belong to open files, so two threads are as good as two processes.
    @Test func twoAtOnceFetchOnce() async throws {
        let wanted = try Wanted(noise(100_000))
        let server = try wanted.server { response, _ in
            usleep(300_000)
            return response
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                        Thread.detachNewThread {
                            continuation.resume(with: Result { try wanted.fetch(server.address) })
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(wanted.file == wanted.content && server.requests.count == 1 && wanted.names == ["file"])
        #expect(wanted.events.contains(.waiting(path: wanted.path)))
        #expect(wanted.events.contains(.present(path: wanted.path)))
    }
}
