import DTrainCheckpoint
import DTrainTensor
import Foundation
import TestSupport
import Testing

/// Makes the C library give memory back as soon as it is freed.
private let promptMalloc = ["MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"]

/// Pickles that try to run something, or to take all memory.
@Suite struct HostilePickleTests {
    private static let trace = "/tmp/dtrain-evil"

    @Test func aFunctionInATensorsPlaceIsNamedAndNeverCalled() throws {
        let file = try TorchFile(torchFixture("evil-system.pth"))
        #expect(try file.tensor("weight").array(of: Float.self) == [1, 1])
        let error = #expect(throws: CheckpointError.self) { try file.tensor("bias") }
        let text = "\(try #require(error))"
        #expect(text.contains("bias is no tensor that dtrain reads: PyTorch would call posix.system for it"))
        #expect(text.contains("dtrain runs nothing that a file names"))
        let layout = ParameterLayout(trainable: [("weight", [2], .plain), ("bias", [2], .plain)])
        let memory = AlignedMemory(byteCount: layout.totalCount * 4)
        #expect(throws: try #require(error)) {
            try loadWeights(
                torchFixture("evil-system.pth"), into: NamedArena(layout, memory.slice()).targets, policy: .exact)
        }
        #expect(memory.slice(of: Float.self).array().allSatisfy { $0 == 0 })
        #expect(!FileManager.default.fileExists(atPath: Self.trace))
    }

    @Test(arguments: [("evil-eval.pth", "eval"), ("evil-root.pth", "exec")])
    func aFunctionInTheDictionarysPlaceIsNamedAndNeverCalled(name: String, function: String) throws {
        let error = #expect(throws: CheckpointError.self) { try TorchFile(torchFixture(name)) }
        guard case .torch(_, .notAStateDictionary(let reason)) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(reason.contains("builtin") && reason.contains(function), "\(reason)")
        #expect(!FileManager.default.fileExists(atPath: Self.trace))
    }

    @Test func operationsThatMayNotStandThereAreRefusedWithTheirByte() throws {
        let malformed: [[UInt8]] = [
            [0x52], [0x28], [0x74], [0x30], [0x73], [0x61], [0x68, 9], [0x6A, 0xFF, 0xFF, 0xFF, 0xFF], [0x81], [0x85],
            [0x4E, 0x61], [0x4E, 0x4E, 0x61], [0x4E, 0x4E, 0x4E, 0x73], [0x28, 0x4E, 0x75], [0x7D, 0x28, 0x4E, 0x75],
            [0x82, 1], [0x97], [0x98], [0xFF], [0x80, 6], [0x80, 1], [0x49, 0x78, 0x0A], [0x28, 0x4E, 0x64],
            [0x4E, 0x72, 0xFF, 0xFF, 0xFF, 0x7F], [0x4E, 0x4E, 0x93], [0x62], [0x7D, 0x28, 0x4E, 0x62, 0x62],
            [0x28, 0x51], [0x28, 0x71, 0], [0x28, 0x32], [0x4E, 0x28, 0x85], [0x4E, 0x28, 0x61],
        ]
        let start = PickleAssembly.magic.count + 6 + 4
        for object in malformed {
            let found = try torchProblem(in: PickleAssembly.file(object))
            switch found {
            case .malformedPickle(_, let byte, _): #expect(byte >= start && byte <= start + 3 + object.count)
            // What is left is a pickle, of no dictionary.
            case .notAStateDictionary where object == [0x28]: break
            default: Issue.record("\(object): \(String(describing: found))")
            }
        }
    }

    @Test(arguments: [
        [0x8B, 0xFF, 0xFF, 0xFF, 0xFF], [0x8D] + [UInt8](repeating: 0xFF, count: 8),
        [0x8D, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], [0x58, 0xFF, 0xFF, 0xFF, 0xFF],
        [0x8E, 0, 0, 0, 0, 1, 0, 0, 0], [0x42, 0xFF, 0xFF, 0xFF, 0x7F], [0x96] + [UInt8](repeating: 0x7F, count: 8),
        [0x54, 0xFF, 0xFF, 0xFF, 0xFF], [0x63, 0x61],
    ]) func lengthsBeyondTheFileAreRefused(object: [UInt8]) throws {
        let found = try torchProblem(in: PickleAssembly.file(object))
        guard case .malformedPickle(_, _, let reason) = found else {
            Issue.record("\(String(describing: found))")
            return
        }
        #expect(reason.contains("it is cut off"))
    }

    @Test func twoEntriesOfOneNameAreRefused() throws {
        let entry = PickleAssembly.text("a") + [0x4E, 0x73]
        #expect(
            try torchProblem(in: PickleAssembly.file([0x7D] + entry + entry))
                == .notAStateDictionary(reason: "it has two entries named a"))
    }

    @Test func aContainerThatContainsItselfIsHarmless() throws {
        // A list and a dictionary in themselves; the state dictionary that is its own entry.
        #expect(try torchProblem(in: PickleAssembly.file([0x5D, 0x71, 0, 0x68, 0, 0x61])) != nil)
        let own: [UInt8] = [0x7D, 0x71, 0] + PickleAssembly.text("state_dict") + [0x68, 0, 0x73]
        let found = try torchProblem(in: PickleAssembly.file(own))
        guard case .notAStateDictionary = found else {
            Issue.record("\(String(describing: found))")
            return
        }
    }

    /// Megabytes of operations that each cost memory: what the reader takes stays a small multiple of the file's size,
    /// and it ends soon.
    @Test(arguments: Bomb.allCases) func bombsTakeAboutAsMuchAsTheFileHas(bomb: Bomb) throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/bomb.pth"
        let bytes = PickleAssembly.file(bomb.object, storages: bomb.hasStorage ? [("0", [])] : [])
        #expect(bytes.count > 1 << 20)
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let outcome = try runProcess(
            builtProduct("weights-check"), ["read", path], environment: promptMalloc, deadlineSeconds: 20)
        #expect(outcome.status == 0 && !outcome.timedOut, "\(outcome.stdout) \(outcome.stderr)")
        let words = outcome.stdout.split(whereSeparator: \.isWhitespace)
        #expect(words.prefix(4) == ["valid", "0", "refused", "1"], "\(outcome.stdout)")
        let growth = try #require(words.dropFirst(5).first.flatMap { Int($0) })
        #expect(growth >= 0 && growth < 40 * bytes.count, "\(bomb): \(growth) bytes for a file of \(bytes.count)")
    }

    enum Bomb: CaseIterable {
        case nestedTuples, nestedLists, marks, nones, memo, lists, listsOfOne, calls, dictionaries, doubling
        case longMention, longGlobal, sharedDictionary, sharedMetadata, sharedShape, sharedTensor

        var hasStorage: Bool { self == .sharedShape || self == .sharedTensor }

        var object: [UInt8] {
            let count = 1 << 21
            switch self {
            case .nestedTuples: return [0x4E] + times([0x85], count)
            case .nestedLists: return times([0x5D], count) + times([0x61], count - 1)
            case .marks: return times([0x28], count)
            case .nones: return times([0x4E], count)
            case .memo: return [0x4E] + times([0x94], count)
            case .lists: return times([0x5D, 0x30], count)
            case .listsOfOne: return times([0x5D, 0x4E, 0x61], count / 2)
            case .calls: return times(PickleAssembly.global("os", "system") + [0x29, 0x52, 0x30], count / 8)
            case .dictionaries: return times([0x7D, 0x4E, 0x4E, 0x73], count / 2)
            // Each pair holds the pair before it twice: a printed form of it would have 2^n characters.
            case .doubling: return [0x4E, 0x94] + times([0x32, 0x86], count)
            // One string of a megabyte as the key of every storage.
            case .longMention:
                let storage = PickleAssembly.tuple([
                    PickleAssembly.text("storage"), PickleAssembly.global("torch", "FloatStorage"), [0x68, 0],
                    PickleAssembly.text("cpu"), [0x4B, 1],
                ])
                return Self.longText + [0x94, 0x30] + times(storage + [0x51, 0x30], 10_000) + [0x7D]
            // And as the module's name of what every tensor would call.
            case .longGlobal:
                let global = Self.longText + PickleAssembly.text("y") + [0x93, 0x94, 0x30]
                return global + [0x7D] + entries(50_000, [0x68, 0, 0x29, 0x52])
            // One OrderedDict of many entries, mentioned by many others.
            case .sharedDictionary:
                let large = PickleAssembly.global("collections", "OrderedDict") + [0x29, 0x52, 0x94]
                return large + times([0x4E, 0x4E, 0x73], 100_000) + [0x30, 0x7D] + entries(100_000, [0x68, 0])
            // Many tensors of one long shape, and one tensor of many names; the storage is empty.
            case .sharedShape: return Self.parts + [0x7D] + entries(80_000, Self.tensor)
            case .sharedTensor: return Self.parts + Self.tensor + [0x94, 0x30, 0x7D] + entries(100_000, [0x68, 3])
            // One large dictionary as a seventh argument of what builds a tensor.
            case .sharedMetadata:
                let large: [UInt8] = [0x7D, 0x94] + times([0x4E, 0x4E, 0x73], 100_000) + [0x30]
                let storage: [UInt8] = PickleAssembly.storage("0", count: 0) + [0x94, 0x30]
                let function: [UInt8] =
                    PickleAssembly.global("torch._utils", "_rebuild_tensor_v2") + [0x94, 0x30]
                let call: [UInt8] = [0x68, 2, 0x28, 0x68, 1, 0x4B, 0, 0x29, 0x29, 0x89, 0x4E, 0x68, 0, 0x74, 0x52]
                return large + storage + function + [0x7D] + entries(50_000, call)
            }
        }

        /// Memo 0: a storage, 1: a shape of eight axes, 2: the function that builds a tensor from them.
        private static let parts: [UInt8] = {
            let shape = PickleAssembly.tuple([[UInt8]](repeating: [0x4B, 1], count: 7) + [[0x4B, 0]])
            let storage: [UInt8] = PickleAssembly.storage("0", count: 0)
            let keep: [UInt8] = [0x94, 0x30]
            return storage + keep + shape + keep + PickleAssembly.global("torch._utils", "_rebuild_tensor_v2") + keep
        }()
        private static let tensor: [UInt8] = [0x68, 2, 0x28, 0x68, 0, 0x4B, 0, 0x68, 1, 0x68, 1, 0x74, 0x52]
        private static let longText = PickleAssembly.text(String(repeating: "x", count: 1 << 20))

        private func times(_ bytes: [UInt8], _ count: Int) -> [UInt8] {
            var all: [UInt8] = []
            for _ in 0..<count { all += bytes }
            return all
        }

        /// Entries of a dictionary, of the names 0, 1, … and one value.
        private func entries(_ count: Int, _ value: [UInt8]) -> [UInt8] {
            var all: [UInt8] = []
            for index in 0..<count { all += PickleAssembly.text(String(index)) + value + [0x73] }
            return all
        }
    }
}

/// The fuzz proof: damaged files in a process of their own, each one read or refused.
@Suite struct MutatedWeightsTests {
    @Test(arguments: [
        "types.pth", "types-unchecked.pth", "types-legacy.pth", "types.safetensors", "nested-legacy.pth",
        "pytorch-0.3.pth", "deflated.pth",
    ]) func aThousandDamagedFilesAreReadOrRefused(name: String) throws {
        let scratch = try ScratchDirectory()
        let outcome = try runProcess(
            builtProduct("weights-check"), ["mutate", torchFixture(name), "1000", scratch.path + "/damaged"],
            environment: promptMalloc, deadlineSeconds: 60)
        #expect(outcome.status == 0 && !outcome.timedOut, "\(outcome.stdout) \(outcome.stderr)")
        let words = outcome.stdout.split(whereSeparator: \.isWhitespace)
        let counts = [1, 3].compactMap { words.dropFirst($0).first.flatMap { Int($0) } }
        #expect(counts.count == 2 && counts.reduce(0, +) == 1000, "\(outcome.stdout)")
        #expect(counts.last ?? 0 > 300, "\(outcome.stdout)")
    }
}
