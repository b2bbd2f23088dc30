import Foundation
import LoopbackServer
import TestSupport
import Testing

/// `dtrain data fetch` against a server on this machine.
@Suite struct FetchTests {
    /// Found by search: its SHA-256 begins with the digits in the name of torchvision's file, which is all that the name
    /// carries. (So the digits recognise damage and mistakes, not malice.)
    static let vgg16 = (name: "vgg16-397923af.pth", content: Array("dtrain 183234610\n".utf8))

    static func weightsServer() throws -> HTTPServer {
        try HTTPServer { request, _ in
            request.target == "/" + vgg16.name ? .file(vgg16.content, request) : HTTPServer.Response(status: 404)
        }
    }

    @Test func weightsGoToTheCacheAndTheResultSaysWhatIsNext() throws {
        let command = try Command()
        let server = try Self.weightsServer()
        let environment = ["DTRAIN_CACHE": command.path("cache")]
        let path = command.path("cache/weights/vgg16-397923af.pth")
        let first = try command.dtrain(
            "data", "fetch", "weights:vgg16", "--mirror", server.address, environment: environment)
        #expect(first.status == 0)
        #expect(first.stdout == "\(path)\nnow: dtrain train --model vgg16 --init \(path)\n")
        #expect(
            first.stderr.hasPrefix("\(server.address)vgg16-397923af.pth\n\(path): 17 B in ")
                && first.stderr.hasSuffix(" s, checksum right\n"), "\(first.stderr)")
        #expect(try command.data("cache/weights/vgg16-397923af.pth") == Data(Self.vgg16.content))

        let second = try command.dtrain(
            "data", "fetch", "weights:vgg16@IMAGENET1K_V1", "--mirror", server.address, environment: environment)
        expect(second, status: 0, stdout: first.stdout, stderr: "\(path) is there already\n")
        #expect(server.requests.count == 1)
    }

    @Test func aProxyOfTheEnvironmentIsUsed() throws {
        let command = try Command()
        let server = try HTTPServer { request, _ in .file(Self.vgg16.content, request) }
        let outcome = try command.dtrain(
            "data", "fetch", "weights:vgg16", "--output", "here dir", "--mirror", "http://mirror.invalid/w",
            environment: ["http_proxy": server.address, "no_proxy": ""])
        #expect(outcome.status == 0, "\(outcome.stderr)")
        #expect(server.requests.map(\.target) == ["http://mirror.invalid/w/vgg16-397923af.pth"])
        #expect(outcome.stdout.hasSuffix("--init 'here dir/vgg16-397923af.pth'\n"))
        #expect(command.exists("here dir/vgg16-397923af.pth"))
    }

    @Test func underMpirunOneRankFetches() throws {
        let command = try Command()
        let server = try Self.weightsServer()
        let outcome = try command.mpirun(
            3, "data", "fetch", "weights:vgg16", "--output", "w", "--mirror", server.address)
        #expect(outcome.status == 0 && server.requests.count == 1)
        #expect(outcome.stdout.ranges(of: "now: ").count == 1)
    }

    @Test func aWrongChecksumIsAnErrorOfTheData() throws {
        let command = try Command()
        let server = try HTTPServer { _, _ in HTTPServer.Response(body: Array("wrong".utf8)) }
        let outcome = try command.dtrain("data", "fetch", "mnist", "--mirror", server.address)
        expectError(
            outcome, status: 3,
            "dtrain: \(server.address)train-images-idx3-ubyte.gz is not the expected file: its MD5 is "
                + "2bda2998d9b0ee197da142a0447f6725 and should be f68b3c2dcbeaaa9fbdd348bbdeb94873 (5 bytes came; they "
                + "are removed); try another --mirror\n")
        #expect(outcome.stdout.isEmpty && server.requests.count == 1)
        #expect(try command.names(in: "data/mnist").isEmpty)
    }

    @Test func aMissingFileIsAnErrorOfTheData() throws {
        let command = try Command()
        let server = try HTTPServer { _, _ in HTTPServer.Response(status: 404) }
        let outcome = try command.dtrain("data", "fetch", "cifar10", "--mirror", server.address, "--output", "c")
        expectError(
            outcome, status: 3,
            "dtrain: \(server.address)cifar-10-binary.tar.gz is not there: HTTP status 404 (not found)\n")
        #expect(try command.names(in: "c").isEmpty)
    }

    @Test func anInterruptKeepsWhatCame() throws {
        let command = try Command()
        let server = try HTTPServer { request, number in
            var response = HTTPServer.Response.file(Self.vgg16.content, request)
            if number == 0 {
                response.cutAfter = 7
                response.stallSeconds = 20
            }
            return response
        }
        let arguments = ["data", "fetch", "weights:vgg16", "--output", "w", "--mirror", server.address]
        let process = try command.start(arguments)
        let deadline = monotonicSeconds() + 30
        while (try? command.data("w/vgg16-397923af.pth.part").count) != 7, monotonicSeconds() < deadline {
            usleep(20_000)
        }
        process.send(signal: SIGINT)
        #expect(process.wait(deadlineSeconds: 10).status == 130)
        #expect(try command.data("w/vgg16-397923af.pth.part") == Data(Self.vgg16.content.prefix(7)))

        let outcome = try command.dtrain(
            "data", "fetch", "weights:vgg16", "--output", "w", "--mirror", server.address)
        #expect(outcome.status == 0 && server.requests.map(\.rangeStart) == [nil, 7])
        #expect(outcome.stderr.contains("after 7 B that are here"))
        #expect(try command.names(in: "w") == [Self.vgg16.name])
    }

    @Test(arguments: [
        (
            "data fetch mnits",
            "nothing called 'mnits' can be fetched (did you mean mnist?); "
                + "valid: mnist, fashion-mnist, cifar10, cifar100, weights:MODEL"
        ),
        (
            "data fetch weights:resnet50@V9",
            "there are no weights 'V9' of resnet50; valid: IMAGENET1K_V1, IMAGENET1K_V2"
        ),
        (
            "data fetch mnist --mirror mirror.example.org",
            "--mirror 'mirror.example.org' is not valid: give an address of http, https or file, "
                + "such as https://mirror.example.org/data/"
        ),
        ("data fetch", "Missing expected argument '<name>'\nSee 'dtrain data fetch --help'."),
    ]) func aMistakeIsNamedWithItsRemedy(arguments: String, message: String) throws {
        let command = try Command()
        expect(try command.dtrain(words: arguments), status: 2, stderr: "dtrain: \(message)\n")
        #expect(try command.names(in: "").isEmpty, "a mistake leaves nothing behind")
    }
}
