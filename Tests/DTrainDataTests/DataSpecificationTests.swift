import DTrainData
import DTrainTensor
import Testing

@Suite struct DataSpecificationTests {
    @Test func readsEveryFormAndWritesItBack() throws {
        let forms: [(String, DataSpecification)] = [
            ("names-sample", .namesSample), ("text-sample", .textSample), ("text:/a:b.txt", .text(file: "/a:b.txt")),
            ("names:n", .names(directory: "n", folding: nil)),
            ("names-ascii:n", .names(directory: "n", folding: .ascii)),
            ("mnist-sample", .mnistSample), ("mnist:/a b/c:d", .mnist(directory: "/a b/c:d")),
            ("fashion-mnist:x", .fashionMNIST(directory: "x")), ("cifar10:x", .cifar10(directory: "x")),
            ("cifar100:/x", .cifar100(directory: "/x")), ("images:a:b", .images(directory: "a:b")),
            ("packed:a.packed", .packed(file: "a.packed")),
            ("synthetic:64x48x3,10", .synthetic(sampleShape: [64, 48, 3], classCount: 10)),
        ]
        for (text, specification) in forms {
            #expect(try DataSpecification.parse(text) == specification)
            #expect(specification.description == text)
        }
    }

    @Test func anUnknownNameGetsTheNearestValidOnes() throws {
        let error = #expect(throws: DataUsageError.self) { try DataSpecification.parse("fashon-mnist:x") }
        #expect(error == .unknownDataSet(name: "fashon-mnist", specification: "fashon-mnist:x"))
        let text = "\(try #require(error))"
        #expect(text.contains("did you mean fashion-mnist"))
        for form in DataSpecification.forms { #expect(text.contains(form)) }
    }

    @Test(arguments: [
        ("mnist", "the folder is missing"), ("mnist:", "the folder is missing"),
        ("images:", "the folder is missing"), ("cifar10", "the folder is missing"), ("packed:", "the file is missing"),
        ("fashion-mnist", "the folder is missing"), ("mnist-sample:x", "it takes no folder"),
        ("text-sample:x", "it takes no folder"),
        ("text", "the file is missing"), ("names:", "the folder is missing"),
        ("only:a@names-sample", "it chooses among classes of images"),
        ("synthetic", "it needs an image size and a number of classes"),
        ("synthetic:8x8x3", "it needs an image size and a number of classes"),
        ("synthetic:8x8,10", "'8x8' is no height, width and number of channels"),
        ("synthetic:8x0x3,10", "'8x0x3' is no height, width and number of channels"),
        ("synthetic:8x-8x3,10", "'8x-8x3' is no height, width and number of channels"),
        ("synthetic:8x8x3,0", "'0' is no number of classes"), ("synthetic:8x8x3,ten", "'ten' is no number of classes"),
        ("synthetic:9999999999x9999999999x3,10", "has more than 16777216 values"),
        ("synthetic:5000x5000x3,10", "has more than 16777216 values"),
    ]) func aMalformedOneSaysWhatIsWrong(text: String, reason: String) throws {
        let error = #expect(throws: DataUsageError.self) { try DataSpecification.parse(text) }
        let description = "\(try #require(error))"
        #expect(description.contains(reason) && description.contains("'\(text)'"))
    }
}
