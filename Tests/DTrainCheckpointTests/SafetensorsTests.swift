import DTrainCheckpoint
import DTrainDigest
import DTrainTensor
import Foundation
import TestSupport
import Testing

/// Reads `bytes` as a file; returns what is wrong with it.
private func problem(in bytes: [UInt8]) throws -> SafetensorsProblem? {
    let scratch = try ScratchDirectory()
    let path = scratch.path + "/file.safetensors"
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    do {
        _ = try SafetensorsFile(path).tensors()
        return nil
    } catch CheckpointError.safetensors(let where_, let problem) {
        #expect(where_ == path)
        return problem
    }
}

/// A file of this header and `dataByteCount` zeros.
private func file(_ header: String, _ dataByteCount: Int) -> [UInt8] {
    let text = Array(header.utf8)
    return (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) } + text
        + [UInt8](repeating: 0, count: dataByteCount)
}

@Suite struct SafetensorsReadingTests {
    @Test func pythonsFileReadsWithAllItsTypes() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/Fixtures/python.safetensors"
        let file = try SafetensorsFile(path)
        #expect(file.metadata == ["format": "pt", "note": "tab\there"])
        let weight = try file.tensor("conv.weight")
        #expect(weight.shape == [3, 2, 2, 2])
        #expect(weight.floats.array() == (0..<24).map { Float($0) / 7 })
        let half = try file.tensor("half").array(of: Float.self)
        #expect(half == [1.5, 0, 65504, 0x1p-24, Float(0x1.FF8p-15), .infinity, -2.75])
        #expect(half[1].sign == .minus)
        #expect(
            try file.tensor("brain").array(of: Float.self) == [
                1.5, -3, Float(bitPattern: 0x7E96_0000), Float(bitPattern: 0x0001_0000),
            ])
        #expect(try file.tensor("double").array(of: Double.self) == [0.1, -1e300])
        #expect(try file.tensor("bn.num_batches_tracked").array(of: Int64.self) == [1 << 40 + 1])
        #expect(try file.tensor("bn.num_batches_tracked").shape == [])
        #expect(try file.tensor("labels").array(of: Int32.self) == [3, -4])
        #expect(try file.tensor("pixels").array(of: UInt8.self) == [0, 7, 255])
        #expect(try file.tensor("empty").shape == [0, 4])
        #expect(try file.tensor("größe \"é\"\n\\").array(of: Float.self) == [9])
        #expect(try file.tensor("mask").array(of: UInt8.self) == [1, 0, 1])
        #expect(throws: CheckpointError.safetensors(path: path, .noSuchTensor("other"))) { try file.tensor("other") }
    }

    @Test(arguments: [
        (
            #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#,
            12,
            SafetensorsProblem.duplicateName("a")
        ),
        (
            #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
            8,
            .overlap("a", "b")
        ),
        (
            #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
            8,
            .overlap("a", "b")
        ),
        (
            #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}}"#,
            16,
            .hole(before: "b", byteCount: 4)
        ),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, .hole(before: "a", byteCount: 4)),
        (
            #"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8,
            .sizeMismatch(name: "a", type: "F32", shape: [3], found: 8)
        ),
        (
            #"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#, 0,
            .sizeMismatch(name: "a", type: "F32", shape: [4_611_686_018_427_387_904, 4], found: 0)
        ),
        (#"{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}"#, 4, .unsupportedType(name: "a", type: "F99")),
        (
            #"{"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}"#, 4,
            .truncated(expected: .max, found: 101)
        ),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 5, .trailingBytes(expected: 66, found: 67)),
        (#"[{}]"#, 0, .wrongBeginning(reason: "its header does not begin with {")),
    ]) func brokenFilesAreRefusedWithTheReason(header: String, dataByteCount: Int, expected: SafetensorsProblem) throws
    {
        #expect(try problem(in: file(header, dataByteCount)) == expected)
    }

    @Test(arguments: [
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, #"{"a":{"dtype":"F32","shape":[1]}}"#,
        #"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#,
        #"{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}"#,
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}"#,
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,99999999999999999999]}}"#, #"{"a":3}"#, #"{"a"}"#,
        #"{"a\x":{}}"#,
        #"{"a\ud800":{}}"#, #"{} {}"#, #"{"__metadata__":{"k":1}}"#, #"{"__metadata__":{"k":"1","k":"2"}}"#, #"{"a"#,
    ]) func malformedHeadersAreRefusedWithTheirByte(header: String) throws {
        guard case .malformedHeader(let byte, _) = try problem(in: file(header, 4)) else {
            Issue.record("\(header) was not refused as malformed")
            return
        }
        #expect(byte > 8 && byte <= 8 + header.utf8.count)
    }

    @Test func aTypeThatIsNotReadIsNamed() throws {
        let header = #"{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}"#
        #expect(try problem(in: file(header, 2)) == .unsupportedType(name: "a", type: "F8_E4M3"))
    }

    @Test func aFileThatIsNoSafetensorsIsRefused() throws {
        let png: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 13]
        guard case .wrongBeginning = try problem(in: png) else {
            Issue.record("a PNG was not refused")
            return
        }
    }

    @Test func everyTruncationIsFound() throws {
        let header =
            #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}}"#
        let whole = file(header, 9)
        #expect(try problem(in: whole) == nil)
        for count in 0..<whole.count {
            guard case .truncated(let expected, count) = try problem(in: Array(whole[..<count])) else {
                Issue.record("\(count) of \(whole.count) bytes were accepted")
                continue
            }
            #expect(expected > count && expected <= whole.count)
        }
    }

    @Test func anEmptySetOfTensorsIsValid() throws { #expect(try problem(in: file("{}", 0)) == nil) }
}

@Suite struct SafetensorsWritingTests {
    @Test func whatIsWrittenReadsBack() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/a.safetensors"
        let scalar = NamedTensor(name: "step", dtype: .int64, shape: [])
        scalar.memory.slice(of: Int64.self)[0] = -5
        let odd = NamedTensor(name: "odd", dtype: .uint8, shape: [3])
        odd.memory.slice(of: UInt8.self)[2] = 200
        let tensors = [
            odd, NamedTensor(name: "a\"\\\u{1}ß", shape: [2, 1], floats: [1.5, -2]), scalar,
            NamedTensor(name: "none", shape: [0], floats: []), NamedTensor(name: "z", shape: [1], floats: [7]),
        ]
        let digest = try SafetensorsFile.write(tensors, metadata: ["key": "a \"value\""], to: path)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(digest == Digest.of(bytes, .sha256))
        #expect(bytes.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) } % 8 == 0)
        let file = try SafetensorsFile(path)
        #expect(file.names == ["step", "a\"\\\u{1}ß", "none", "z", "odd"])
        #expect(file.metadata == ["key": "a \"value\""])
        for tensor in tensors {
            let read = try file.tensor(tensor.name)
            #expect(read.shape == tensor.shape && read.dtype == tensor.dtype)
            #expect(
                read.memory.slice(of: UInt8.self)[0..<read.byteCount].array()
                    == tensor.memory.slice(of: UInt8.self)[0..<tensor.byteCount].array())
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["a.safetensors"])
    }

    @Test func moreThanAChunkIsWrittenWhole() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/large.safetensors"
        let large = NamedTensor(name: "large", shape: [600_001], floats: (0..<600_001).map(Float.init))
        let digest = try SafetensorsFile.write([large], to: path)
        #expect(try digest == Digest.of(Data(contentsOf: URL(fileURLWithPath: path)), .sha256))
        #expect(try SafetensorsFile(path).tensor("large").array(of: Float.self) == large.floats.array())
    }

    @Test func twoTensorsOfOneNameAreRefusedAndTheFileStays() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/a.safetensors"
        let tensor = NamedTensor(name: "a", shape: [1], floats: [1])
        try SafetensorsFile.write([tensor], to: path)
        #expect(throws: CheckpointError.safetensors(path: path + ".tmp", .duplicateName("a"))) {
            try SafetensorsFile.write([tensor, tensor], to: path)
        }
        #expect(try SafetensorsFile(path).names == ["a"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["a.safetensors"])
    }
}

@Suite struct LoadWeightsTests {
    static let layout = ParameterLayout(trainable: [("a", [2], .plain), ("b", [2, 3], .plain), ("c", [1], .plain)])

    @Test func everyDifferenceIsListedAndNothingIsChanged() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/a.safetensors"
        try SafetensorsFile.write(
            [
                NamedTensor(name: "a", shape: [2], floats: [1, 2]),
                NamedTensor(name: "b", shape: [3, 2], floats: [1, 2, 3, 4, 5, 6]),
                NamedTensor(name: "d", shape: [1], floats: [1]), NamedTensor(name: "e", shape: [1], floats: [1]),
            ], to: path)
        let memory = AlignedMemory(byteCount: Self.layout.totalCount * 4)
        let error = #expect(throws: CheckpointError.self) {
            try loadWeights(path, into: [NamedArena(Self.layout, memory.slice())])
        }
        guard case .mismatch(path, let mismatch) = error else {
            Issue.record("\(String(describing: error)) is no mismatch")
            return
        }
        #expect(mismatch.missing == ["c"])
        #expect(mismatch.unexpected == ["d", "e"])
        let misshapen = TensorMismatch.Misshapen(name: "b", expected: [2, 3], found: [3, 2], type: .float32)
        #expect(mismatch.misshapen == [misshapen])
        #expect(mismatch.description == "missing: c; unexpected: d, e; misshapen: b is 3×2 F32, needs 2×3 F32")
        #expect(memory.slice(of: Float.self).array().allSatisfy { $0 == 0 })
    }

    @Test func anotherTypeIsRefused() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/a.safetensors"
        let integers = NamedTensor(name: "a", dtype: .int32, shape: [1])
        try SafetensorsFile.write([integers], to: path)
        let layout = ParameterLayout(trainable: [("a", [1], .plain)])
        let memory = AlignedMemory(byteCount: layout.totalCount * 4)
        #expect(throws: CheckpointError.self) { try loadWeights(path, into: [NamedArena(layout, memory.slice())]) }
    }

    @Test func pyTorchsOrderBecomesTheArenas() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/Fixtures/python.safetensors"
        let tensor = try SafetensorsFile(path).tensor("conv.weight")
        let scratch = try ScratchDirectory()
        try SafetensorsFile.write([tensor], to: scratch.path + "/conv.safetensors")
        let layout = ParameterLayout(trainable: [
            ("conv.weight", [3, 2, 2, 2], .convolution(outputs: 3, inputs: 2, height: 2, width: 2))
        ])
        let memory = AlignedMemory(byteCount: layout.totalCount * 4)
        try loadWeights(scratch.path + "/conv.safetensors", into: [NamedArena(layout, memory.slice())])
        // Output 0, row 0, column 0: both input channels, whose planes are 4 elements apart in PyTorch.
        let expected: [Float] = [0, 4, 1, 5].map { $0 / 7 }
        #expect(Array(memory.slice(of: Float.self).array()[0..<4]) == expected)
    }
}
