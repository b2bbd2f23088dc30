import DTrainDigest
import DTrainFetch
import Foundation
import LoopbackServer
import TestSupport
import Testing

@Suite struct PretrainedWeightsTests {
    @Test func theNameOfAFileCarriesItsChecksum() {
        #expect(Checksum.inName("resnet50-0676ba61.pth") == .sha256("0676ba61"))
        #expect(Checksum.inName("alexnet-owt-7be5be79.pth") == .sha256("7be5be79"))
        for name in ["resnet50.pth", "resnet50-0676BA61.pth", "resnet50-0676ba6.pth", "wide-resnet.pth"] {
            #expect(Checksum.inName(name) == nil)
        }
    }

    @Test func theFirstVersionIsTheDefault() throws {
        let weights = try PretrainedWeights.named("resnet50")
        #expect(weights.fileName == "resnet50-0676ba61.pth" && weights.description == "resnet50@IMAGENET1K_V1")
        #expect(try PretrainedWeights.named("resnet50@IMAGENET1K_V2").fileName == "resnet50-11ad3fa6.pth")
        for weights in PretrainedWeights.all {
            #expect(try PretrainedWeights.named(weights.description) == weights)
            #expect(Checksum.inName(weights.fileName)?.digits.count == 8, "\(weights.fileName)")
        }
        #expect(PretrainedWeights.all.filter(\.transformsInput).map(\.model) == ["googlenet"])
    }

    @Test func unknownNamesGetTheNearest() {
        let model = #expect(throws: FetchUsageError.self) { try PretrainedWeights.named("resnet5O") }
        #expect(model.map { "\($0)".contains("'resnet5O' (did you mean resnet50") } == true)
        #expect(
            throws: FetchUsageError.unknownVersion(
                model: "resnet50", version: "V3", valid: ["IMAGENET1K_V1", "IMAGENET1K_V2"])
        ) { try PretrainedWeights.named("resnet50@V3") }
    }

    @Test func theCacheIsFilledOnce() throws {
        let scratch = try ScratchDirectory()
        let content = noise(20_000)
        let name = "tiny-\(Digest.of(content, .sha256).prefix(8)).pth"
        let server = try HTTPServer { request, _ in
            request.target == "/models/" + name ? .file(content, request) : HTTPServer.Response(status: 404)
        }
        let weights = PretrainedWeights(
            model: "tiny", version: "V1", fileName: name, base: server.address + "models/")
        let environment = ["DTRAIN_CACHE": scratch.path + "/cache"]
        for _ in 0..<2 {
            let path = try weights.locate(environment: environment)
            #expect(path == scratch.path + "/cache/weights/" + name)
            #expect(FileManager.default.contents(atPath: path).map(Array.init) == content)
        }
        #expect(server.requests.count == 1)

        let elsewhere = try weights.locate(
            in: scratch.path + "/here", environment: [:], mirror: try Mirror(server.address + "models"))
        #expect(elsewhere == scratch.path + "/here/" + name && server.requests.count == 2)
    }

    @Test func theCacheFollowsTheEnvironment() throws {
        let home = ["HOME": "/home/x"]
        #expect(try CacheDirectory.path(home) == "/home/x/.cache/dtrain")
        #expect(try CacheDirectory.path(home.merging(["XDG_CACHE_HOME": "/c"]) { $1 }) == "/c/dtrain")
        #expect(try CacheDirectory.path(home.merging(["XDG_CACHE_HOME": "c"]) { $1 }) == "/home/x/.cache/dtrain")
        let all = home.merging(["XDG_CACHE_HOME": "/c", "DTRAIN_CACHE": "d"]) { $1 }
        #expect(try CacheDirectory.path(all) == "d")
        #expect(throws: FetchError.noCacheDirectory) { try CacheDirectory.path([:]) }
    }
}
