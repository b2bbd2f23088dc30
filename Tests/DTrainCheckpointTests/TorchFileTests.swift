import DTrainCheckpoint
import DTrainTensor
import Foundation
import TestSupport
import Testing

/// The path of a file that make_torch.py wrote.
func torchFixture(_ name: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/Fixtures/torch/" + name
}

private func bytes(_ tensor: NamedTensor) -> [UInt8] {
    withExtendedLifetime(tensor.memory) { tensor.memory.slice(of: UInt8.self)[0..<tensor.byteCount].array() }
}

/// Expects the PyTorch file to hold what `expected`, a safetensors file, holds, bit for bit, in names, types and shapes.
private func expectSame(_ torch: String, _ expected: String, only names: Set<String>? = nil) throws {
    let file = try WeightsFile(torchFixture(torch))
    let oracle = try SafetensorsFile(torchFixture(expected))
    if names == nil { #expect(Set(file.names) == Set(oracle.names)) }
    #expect(!oracle.names.isEmpty)
    for name in oracle.names where names?.contains(name) ?? true {
        #expect(file.type(of: name) == oracle.type(of: name), "\(name)")
        #expect(file.shape(of: name) == oracle.shape(of: name), "\(name)")
        let (found, wanted) = (try file.tensor(name), try oracle.tensor(name))
        #expect(found.dtype == wanted.dtype && found.shape == wanted.shape, "\(name)")
        #expect(bytes(found) == bytes(wanted), "\(name)")
    }
}

/// Writes `content` to a file and reads it; returns what is wrong with it.
func torchProblem(in content: [UInt8], readingTensors: Bool = true) throws -> TorchProblem? {
    let scratch = try ScratchDirectory()
    let path = scratch.path + "/file.pth"
    try Data(content).write(to: URL(fileURLWithPath: path))
    do {
        let file = try TorchFile(path)
        if readingTensors { _ = try file.tensors() }
        return nil
    } catch CheckpointError.torch(let where_, let problem) {
        #expect(where_ == path)
        return problem
    }
}

@Suite struct TorchFileTests {
    @Test(arguments: [
        ("types.pth", "types.safetensors"), ("types-legacy.pth", "types-legacy.safetensors"),
        ("types-unchecked.pth", "types.safetensors"), ("nested.pth", "nested.safetensors"),
        ("nested-legacy.pth", "nested.safetensors"), ("protocol3.pth", "nested.safetensors"),
        ("protocol4.pth", "nested.safetensors"), ("protocol5.pth", "nested.safetensors"),
        ("deflated.pth", "deflated.safetensors"), ("zip64.pth", "deflated.safetensors"),
        ("big-endian.pth", "deflated.safetensors"), ("pytorch-0.3.pth", "pytorch-0.3.safetensors"),
    ]) func whatPyTorchWroteReadsBitForBit(torch: String, expected: String) throws {
        try expectSame(torch, expected)
    }

    @Test func namesKeepTheirOrder() throws {
        #expect(
            try TorchFile(torchFixture("nested.pth")).names == [
                "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked",
                "3.weight", "3.bias",
            ])
    }

    @Test func whatIsNoTensorIsNamedWithItsReasonAndTheRestReads() throws {
        let path = torchFixture("odd.pth")
        let file = try TorchFile(path)
        #expect(try file.tensor("fine").array(of: Float.self) == [1, 1])
        func problem(_ name: String) -> String {
            do {
                _ = try file.tensor(name)
                return "none"
            } catch {
                return "\(error)"
            }
        }
        #expect(file.shape(of: "f8") == nil && file.type(of: "sparse") == nil)
        #expect(problem("f8").contains("tensor f8 has type F8_E4M3"))
        #expect(problem("u64").contains("tensor u64 has type U64"))
        #expect(problem("complex").contains("tensor complex has type torch.ComplexFloatStorage"))
        #expect(
            problem("sparse").contains(
                "sparse is no tensor that dtrain reads: PyTorch would call torch._utils._rebuild_sparse_tensor"))
        #expect(problem("quantized").contains("torch._utils._rebuild_qtensor"))
        #expect(problem("number").contains("it is an int"))
        #expect(problem("text").contains("it is a str"))
        #expect(problem("negated").contains("negated or conjugated"))
        #expect(problem("device").contains("torch.device"))
        #expect(problem("other").contains("it has no tensor named other"))
    }

    @Test func whatIsNoStateDictionaryIsRefusedByName() throws {
        func refusal(_ name: String) -> String {
            do {
                _ = try TorchFile(torchFixture(name))
                return "none"
            } catch {
                return "\(error)"
            }
        }
        #expect(
            refusal("module.pth").contains("it holds what torch.nn.modules.linear.Linear returns, not a state dict"))
        #expect(refusal("list.pth").contains("it holds a list, not a state dictionary"))
    }

    @Test func everyTruncationIsFound() throws {
        for name in ["deflated.pth", "nested-legacy.pth", "big-endian.pth"] {
            let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: torchFixture(name))))
            for count in stride(from: 0, to: whole.count, by: 7) {
                #expect(try torchProblem(in: Array(whole[..<count])) != nil, "\(name) cut to \(count) bytes")
            }
        }
    }

    @Test func aChangedStorageIsFoundByItsChecksum() throws {
        let scratch = try ScratchDirectory()
        let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: torchFixture("types.pth"))))
        // The storage that all views share: 60 numbers of which the second is 1/7.
        let second = (0..<4).map { UInt8(truncatingIfNeeded: Float(1.0 / 7).bitPattern >> (8 * UInt32($0))) }
        let place = try #require(whole.indices.dropLast(4).first { Array(whole[$0..<$0 + 4]) == second })
        var damaged = whole
        damaged[place] ^= 1
        let path = scratch.path + "/a.pth"
        try Data(damaged).write(to: URL(fileURLWithPath: path))
        let error = #expect(throws: CheckpointError.self) { try TorchFile(path).tensor("view.rows") }
        guard case .torch(path, .wrongChecksum(let entry, _, _)) = error else {
            Issue.record("\(String(describing: error)) is no wrong checksum")
            return
        }
        #expect(entry.contains("/data/"))
    }

    @Test func tensorsBeyondTheirStorageAreRefused() throws {
        func problem(_ tensor: [UInt8]) throws -> TorchProblem? {
            let object = PickleAssembly.dictionary("a", tensor)
            return try torchProblem(in: PickleAssembly.file(object, storages: [("0", [1, 2, 3, 4])]))
        }
        let storage = PickleAssembly.storage("0", count: 4)
        #expect(try problem(PickleAssembly.tensor(storage: storage, shape: [2, 2], strides: [2, 1])) == nil)
        #expect(try problem(PickleAssembly.tensor(storage: storage, shape: [2, 2], strides: [0, 3])) == nil)
        let refused: [(offset: Int, shape: [Int], strides: [Int])] = [
            (1, [2, 2], [2, 1]), (0, [5], [1]), (0, [2, 2], [3, 1]), (-1, [1], [1]), (0, [-1], [1]), (0, [2], [-1]),
            (0, [1 << 62, 1 << 62], [0, 0]), (0, [1 << 40], [1 << 40]), (.max, [1], [1]), (0, [2], [.max]),
            (0, [2], [1, 1]), (0, [1 << 62, 4, 0], [1, 1, 1]),
        ]
        for (offset, shape, strides) in refused {
            let found = try problem(
                PickleAssembly.tensor(storage: storage, offset: offset, shape: shape, strides: strides))
            guard case .malformedTensor("tensor a", _) = found else {
                Issue.record("\(shape), strides \(strides) from \(offset): \(String(describing: found))")
                continue
            }
        }
        // Within bounds, but an element for each byte of a much larger file.
        let found = try problem(PickleAssembly.tensor(storage: storage, shape: [1 << 20, 1 << 10], strides: [0, 0]))
        guard case .tooLarge("a", byteCount: (4 << 30) + 512, _) = found else {
            Issue.record("an expanded tensor of 4 GB: \(String(describing: found))")
            return
        }
    }

    @Test func storagesThatAreNotThereAreRefused() throws {
        let tensor = PickleAssembly.tensor(
            storage: PickleAssembly.storage("0", count: 4), shape: [4], strides: [1])
        let object = PickleAssembly.dictionary("a", tensor)
        #expect(
            try torchProblem(in: PickleAssembly.file(object))
                == .malformedTensor(name: "tensor a", reason: "needs storage 0, it is missing"))
        let other = try torchProblem(in: PickleAssembly.file(object, storages: [("0", [1, 2])]))
        guard case .malformedTensor("storage 0", _) = other else {
            Issue.record("\(String(describing: other))")
            return
        }
    }

    @Test func archivesThatCannotBeReadSayWhy() throws {
        let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: torchFixture("deflated.pth"))))
        let entry = try #require(
            whole.indices.dropLast(4).first { Array(whole[$0..<$0 + 4]) == [0x50, 0x4B, 1, 2] })
        func problem(_ change: (inout [UInt8]) -> Void) throws -> String {
            var bytes = whole
            change(&bytes)
            return try torchProblem(in: bytes).map { "\($0)" } ?? "none"
        }
        #expect(try problem { $0[entry + 8] |= 1 }.contains("archive, byte \(entry): archive/data.pkl is encrypted"))
        #expect(try problem { $0[entry + 10] = 12 }.contains("compressed by method 12"))
        #expect(try problem { $0[entry + 24] ^= 1 }.contains("not validly deflated"))
        #expect(try problem { $0[entry + 27] = 0x7F }.contains("larger than"))
        #expect(try problem { $0[entry + 16] ^= 1 }.contains("CRC-32"))
        #expect(try problem { $0[$0.count - 4] = 0xFF }.contains("directory does not lie within the file"))
        #expect(try problem { $0.removeLast() }.contains("it is truncated"))
    }
}
