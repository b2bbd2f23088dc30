// Reads weights files in a process of its own, whose end, time and memory DTrainCheckpointTests watches.
//
//     weights-check read FILE                         one file as it is
//     weights-check same FILE OTHER                   whether both hold the same tensors, bit for bit
//     weights-check mutate FILE COUNT SCRATCH         COUNT damaged copies, seeds 0 ..< COUNT, written to SCRATCH
//
// Prints `valid N refused N growth BYTES seconds S`; a growth of the resident memory beyond `Reading.bound` is an
// error that names the seed. The environment should set MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ so that freed
// memory goes back at once and is counted anew.
import DTrainCheckpoint
import Foundation

/// What reading files has come to.
struct Reading {
    private(set) var valid = 0
    private(set) var refused: [String] = []
    private(set) var growth = 0

    /// What reading a file of `byteCount` may take: tensors 16 times (a pickle's values at most 32 times) its size, and
    /// the buffers that every reader has.
    static func bound(_ byteCount: Int) -> Int { 40 * byteCount + (1 << 20) }

    /// Reads all that a file has, all of it at once in memory. Returns by how much the resident memory grew at most.
    mutating func read(_ path: String) -> Int {
        guard let control = fopen("/proc/self/clear_refs", "w") else { return -1 }
        fputs("5", control)
        fclose(control)
        let before = memory("VmRSS")
        do throws(CheckpointError) {
            let tensors = try WeightsFile(path).tensors()
            valid += 1
            for tensor in tensors { precondition(tensor.memory.byteCount >= tensor.byteCount) }
        } catch {
            refused.append("\(error)")
        }
        let grown = memory("VmHWM") - before
        growth = max(growth, grown)
        return grown
    }

    /// A number of kilobytes from /proc/self/status, in bytes.
    private func memory(_ key: String) -> Int {
        let text = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix(key + ":") }
        let words = line?.split(whereSeparator: \.isWhitespace) ?? []
        return words.count > 1 ? (Int(words[1]) ?? 0) * 1024 : 0
    }
}

let arguments = CommandLine.arguments
let started = Date()
var reading = Reading()
switch arguments.dropFirst().first {
case "read" where arguments.count == 3:
    // The first use of a reader costs memory that no file is to blame for.
    var first = Reading()
    _ = first.read("/dev/null")
    _ = reading.read(arguments[2])
case "same" where arguments.count == 4:
    let (file, other) = (try WeightsFile(arguments[2]), try WeightsFile(arguments[3]))
    var differing = Set(file.names).symmetricDifference(other.names)
    for name in Set(file.names).intersection(other.names) {
        let (first, second) = (try file.tensor(name), try other.tensor(name))
        let isSame =
            first.shape == second.shape && first.dtype == second.dtype
            && memcmp(first.memory.base, second.memory.base, first.byteCount) == 0
        if !isSame { differing.insert(name) }
    }
    print("\(file.names.count) tensors, \(differing.count) differ", differing.sorted().first ?? "")
    exit(differing.isEmpty ? 0 : 1)
case "mutate" where arguments.count == 5:
    let original = [UInt8](try Data(contentsOf: URL(fileURLWithPath: arguments[2])))
    for seed in 0..<UInt64(arguments[3])! {
        var mutation = Mutation(seed: seed)
        let bytes = mutation.apply(to: original)
        try Data(bytes).write(to: URL(fileURLWithPath: arguments[4]))
        let grown = reading.read(arguments[4])
        if grown < 0 || grown > Reading.bound(bytes.count) {
            print("seed \(seed): \(grown) bytes for a file of \(bytes.count)")
            exit(1)
        }
    }
default:
    print("usage: weights-check read FILE | same FILE OTHER | mutate FILE COUNT SCRATCH")
    exit(2)
}
let seconds = Date().timeIntervalSince(started)
print("valid \(reading.valid) refused \(reading.refused.count) growth \(reading.growth) seconds \(seconds)")
if arguments[1] == "read" { reading.refused.forEach { print($0) } }
