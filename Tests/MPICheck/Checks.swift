import DTrainCollectives
import DTrainTensor
import Glibc

/// A check that did not hold.
struct CheckFailure: Error, CustomStringConvertible {
    let description: String
}

/// Every operation, with another value on each rank: rank r contributes r + 1.
struct Checks {
    let queue: CommunicationQueue
    var rank: Int { queue.rank }
    var size: Int { queue.size }
    /// 1 + 2 + … + size.
    var total: Int { size * (size + 1) / 2 }

    init(_ queue: CommunicationQueue) { self.queue = queue }

    func runAll() throws {
        try expect(size == Int(option("size", Double(size))), "\(size) ranks")
        try expect(queue.hosts.count == size && queue.hosts.allSatisfy { !$0.isEmpty }, "hosts \(queue.hosts)")
        try expect(queue.localRank < queue.localSize && queue.localSize <= size, "local rank \(queue.localRank)")
        let first = queue.firstSharingRanks
        try expect(
            first.indices.allSatisfy { first[$0] <= $0 && first[first[$0]] == first[$0] }, "sharing ranks \(first)")
        if let hosts = option("across") { try expect(Set(first).count == Int(hosts), "sharing ranks \(first)") }
        // Nothing, one element, odd numbers, a count of several parts, more than a bucket of 25 MiB: unless it is cut into
        // thousands of parts, which takes long and shows nothing new.
        let largest = option("largest-count") == nil ? [(25 << 20) / 4 + 3] : []
        for count in [0, 1, 7, 1000, 65_537] + largest { try sums(count) }
        for count in [0, 1, 7, 4097] {
            try extremes(count)
            try broadcasts(count)
            try gathers(count)
            try exchanges(count)
            try compressedSums(count)
            try messages(count)
        }
        // Longer than what MPI's own calls are for.
        for count in [20_011, 300_007] {
            try gathers(count)
            try exchanges(count)
            try compressedSums(count)
        }
        // More than ranks of a host sum at a time.
        try compressedSums(600_011)
        try pairwiseSums()
        try sameBitsTwice()
        try parts()
        try queue.run(.barrier)
        if rank == 0 {
            print("mpi-check: all collectives hold on \(size) ranks, hosts \(queue.hosts.joined(separator: " "))")
        }
    }

    private func expect(_ condition: Bool, _ what: @autoclosure () -> String) throws {
        if !condition { throw CheckFailure(description: "rank \(rank) of \(size): wrong \(what())") }
    }

    private func withMemory<Element: BitwiseCopyable>(
        _ count: Int, _ body: (MemorySlice<Element>) throws -> Void
    ) rethrows {
        let memory = AlignedMemory(byteCount: count * MemoryLayout<Element>.stride)
        try withExtendedLifetime(memory) { try body(memory.slice()[0..<count]) }
    }

    private func sums(_ count: Int) throws {
        try withMemory(count) { (values: MemorySlice<Float>) in
            for index in 0..<count { values[index] = Float((rank + 1) * (index % 13)) }
            try queue.run(.allReduceSumFloat(values))
            for index in 0..<count {
                try expect(values[index] == Float(total * (index % 13)), "float \(index) of \(count): \(values[index])")
            }
        }
        try withMemory(count) { (values: MemorySlice<Double>) in
            for index in 0..<count { values[index] = Double((rank + 1) * (index % 17)) + 0.5 }
            try queue.run(.allReduceSumDouble(values))
            for index in 0..<count {
                let expected = Double(total * (index % 17)) + 0.5 * Double(size)
                try expect(values[index] == expected, "double \(index) of \(count): \(values[index])")
            }
        }
        try withMemory(count) { (values: MemorySlice<Int64>) in
            for index in 0..<count { values[index] = Int64(rank + 1) << 40 + Int64(index) }
            try queue.run(.allReduceSumInt64(values))
            for index in 0..<count {
                let expected = Int64(total) << 40 + Int64(index * size)
                try expect(values[index] == expected, "integer \(index) of \(count): \(values[index])")
            }
        }
    }

    private func extremes(_ count: Int) throws {
        try withMemory(count) { (values: MemorySlice<Int64>) in
            for index in 0..<count { values[index] = Int64(index - (rank + 1)) << 33 }
            try queue.run(.allReduceMaximum(values))
            for index in 0..<count { try expect(values[index] == Int64(index - 1) << 33, "maximum \(values[index])") }
            for index in 0..<count { values[index] = Int64(index - (rank + 1)) << 33 }
            try queue.run(.allReduceMinimum(values))
            for index in 0..<count {
                try expect(values[index] == Int64(index - size) << 33, "minimum \(values[index])")
            }
        }
    }

    private func broadcasts(_ count: Int) throws {
        for root in 0..<size {
            try withMemory(count) { (bytes: MemorySlice<UInt8>) in
                for index in 0..<count { bytes[index] = UInt8(truncatingIfNeeded: (rank + 1) * 31 + index) }
                try queue.run(.broadcast(bytes, root: root))
                for index in 0..<count {
                    try expect(bytes[index] == UInt8(truncatingIfNeeded: (root + 1) * 31 + index), "broadcast \(index)")
                }
            }
            let mine = Array("from rank \(rank)".utf8) + Array(repeating: UInt8(rank), count: rank * 5)
            let theirs = try queue.perform { try $0.broadcast(mine, root: root) }
            let expected = Array("from rank \(root)".utf8) + Array(repeating: UInt8(root), count: root * 5)
            try expect(theirs == expected, "broadcast of \(theirs.count) bytes")
        }
    }

    private func gathers(_ count: Int) throws {
        try withMemory(count) { (bytes: MemorySlice<UInt8>) in
            try withMemory(count * size) { (all: MemorySlice<UInt8>) in
                for index in 0..<count { bytes[index] = UInt8(truncatingIfNeeded: (rank + 1) * 7 + index) }
                try queue.run(.allGather(bytes, into: all))
                for index in 0..<all.count {
                    let expected = UInt8(truncatingIfNeeded: (index / count + 1) * 7 + index % count)
                    try expect(all[index] == expected, "gathered \(index)")
                }
            }
        }
        let mine = Array("rank".utf8) + Array(repeating: UInt8(65 + rank), count: rank)
        let all = try queue.perform { try $0.allGather(mine) }
        try expect(
            all == (0..<size).map { Array("rank".utf8) + Array(repeating: UInt8(65 + $0), count: $0) }, "gather \(all)")
    }

    private func exchanges(_ count: Int) throws {
        try withMemory(count * size) { (bytes: MemorySlice<UInt8>) in
            try withMemory(count * size) { (received: MemorySlice<UInt8>) in
                for index in 0..<bytes.count {
                    bytes[index] = UInt8(truncatingIfNeeded: (rank + 1) * 7 + index / count * 31 + index % count)
                }
                try queue.run(.allToAll(bytes, into: received))
                for index in 0..<received.count {
                    let expected = UInt8(truncatingIfNeeded: (index / count + 1) * 7 + rank * 31 + index % count)
                    try expect(received[index] == expected, "exchanged \(index)")
                }
            }
        }
    }

    /// Whole numbers of up to 20 bits: fp32 adds them exactly, bfloat16 rounds them. After three sums the results and the
    /// residuals of all ranks together are what was summed, and all ranks hold the same.
    private func compressedSums(_ count: Int) throws {
        func value(_ rank: Int, _ step: Int, _ index: Int) -> Int {
            (rank * 7919 + step * 611_953 + index * 104_729) % 99_991
        }
        try withMemory(count) { (residual: MemorySlice<Float>) in
            try withMemory(count) { (values: MemorySlice<Float>) in
                try withMemory(CompressedSum.workspaceCount(count, ranks: size)) { (workspace: MemorySlice<UInt16>) in
                    // As after a resume: ranks hold residuals of elements that others sum.
                    for index in 0..<count { residual[index] = Float((rank + index) % 17) }
                    var totals = [Float](repeating: 0, count: count)
                    for step in 0..<3 {
                        for index in 0..<count { values[index] = Float(value(rank, step, index)) }
                        let sum = CompressedSum(values: values, residual: residual, workspace: workspace)
                        try queue.run(.allReduceSumCompressed(sum))
                        for index in 0..<count { totals[index] += values[index] }
                    }
                    let all = try queue.perform { try $0.allGather(totals.withUnsafeBytes { Array($0) }) }
                    try expect(Set(all).count == 1, "compressed sums of \(count): the ranks hold different ones")
                    // nil on a rank that sums nothing across hosts.
                    let hosts = try queue.perform { $0.acrossHosts?.size }
                    if let hosts {
                        try expect(hosts == Int(option("across", Double(hosts))), "number of hosts: \(hosts)")
                    }
                    let holds = residual.array().map { $0 != 0 }
                    try queue.run(.allReduceSumFloat(residual))
                    for index in 0..<count { values[index] = holds[index] ? 1 : 0 }
                    try queue.run(.allReduceSumFloat(values))
                    for index in 0..<count {
                        try expect(
                            values[index] <= Float(hosts ?? size), "\(values[index]) ranks with a residual of \(index)")
                        var exact = 0
                        for rank in 0..<size {
                            exact += (rank + index) % 17
                            for step in 0..<3 { exact += value(rank, step, index) }
                        }
                        try expect(
                            totals[index] + residual[index] == Float(exact), "compressed sum \(index) of \(count)")
                    }
                }
            }
        }
    }

    /// A message goes round the ring, two tags at once, and comes back with every rank's mark.
    private func messages(_ count: Int) throws {
        guard size > 1 else { return }
        let next = (rank + 1) % size
        let previous = (rank + size - 1) % size
        try withMemory(count + 1) { (bytes: MemorySlice<UInt8>) in
            bytes.fill(0)
            if rank == 0 {
                bytes.fill(1)
                try queue.run(.send(bytes, to: next, tag: 31_999))
                try queue.run(.receive(bytes, from: previous, tag: 31_999, waitsIndefinitely: true))
                try expect(bytes.array().allSatisfy { $0 == UInt8(total) }, "ring \(bytes.array().prefix(4))")
            } else {
                try queue.run(.receive(bytes, from: previous, tag: 31_999))
                for index in 0...count { bytes[index] += UInt8(rank + 1) }
                try queue.run(.send(bytes, to: next, tag: 31_999, waitsIndefinitely: true))
            }
        }
    }

    /// Sums of numbers that round: added pairwise over the ranks of each host, then over the hosts.
    private func pairwiseSums() throws {
        func value(_ rank: Int, _ index: Int) -> Float {
            Float(CounterRandom(seed: UInt64(rank) + 5, purpose: .synthetic).words(UInt64(index)).0) / 3e9 - 0.7
        }
        func tree(_ terms: ArraySlice<Float>) -> Float {
            if terms.count == 1 { return terms.first! }
            var half = 1
            while 2 * half < terms.count { half *= 2 }
            return tree(terms.prefix(half)) + tree(terms.dropFirst(half))
        }
        let first = queue.firstSharingRanks
        let hosts = first.indices.filter { first[$0] == $0 }.map { host in first.indices.filter { first[$0] == host } }
        for count in [20_011, 1_100_003] {
            try withMemory(count) { (values: MemorySlice<Float>) in
                for index in 0..<count { values[index] = value(rank, index) }
                try queue.run(.allReduceSumFloat(values))
                for index in stride(from: 0, to: count, by: 7) {
                    let expected = tree(hosts.map { tree($0.map { value($0, index) }[...]) }[...])
                    try expect(values[index] == expected, "order of sum \(index) of \(count)")
                }
            }
        }
    }

    /// Sums of numbers that round: the same bits on all ranks, and again when done again.
    private func sameBitsTwice() throws {
        for count in [1, 513, 20_011, 500_009] {
            var results: [[UInt32]] = []
            for attempt in 0..<2 {
                // The ranks arrive in another order the second time.
                usleep(UInt32(attempt == 0 ? rank : size - rank) * 500)
                try withMemory(count) { (values: MemorySlice<Float>) in
                    let random = CounterRandom(seed: UInt64(rank) + 5, purpose: .synthetic)
                    for index in 0..<count { values[index] = Float(random.words(UInt64(index)).0) / 3e9 - 0.7 }
                    try queue.run(.allReduceSumFloat(values))
                    results.append(values.array().map(\.bitPattern))
                }
            }
            try expect(results[0] == results[1], "bits: two sums of \(count) differ")
            let digest = results[0].reduce(UInt64(14_695_981_039_346_656_037)) {
                ($0 ^ UInt64($1)) &* 1_099_511_628_211
            }
            let digests = try queue.perform { try $0.allGather(withUnsafeBytes(of: digest) { Array($0) }) }
            try expect(Set(digests).count == 1, "bits: the ranks hold different sums of \(count)")
        }
    }

    /// Odd and even ranks apart, in reverse order; then all but rank 0.
    private func parts() throws {
        guard let group = try queue.split(color: rank % 2, key: -rank) else {
            throw CheckFailure(description: "no group for colour \(rank % 2)")
        }
        let members = (0..<size).filter { $0 % 2 == rank % 2 }.sorted(by: >)
        try expect(group.size == members.count && members[group.rank] == rank, "group \(group)")
        try withMemory(5) { (values: MemorySlice<Double>) in
            values.fill(Double(rank + 1))
            try queue.run(.allReduceSumDouble(values), in: group)
            let expected = Double(members.reduce(0) { $0 + $1 + 1 })
            try expect(values.array().allSatisfy { $0 == expected }, "sum in a group: \(values.array())")
        }
        // Longer than what goes by two levels, and than goes at a time.
        try withMemory(600_011) { (values: MemorySlice<Float>) in
            values.fill(Float(rank + 1))
            try queue.run(.allReduceSumFloat(values), in: group)
            let expected = Float(members.reduce(0) { $0 + $1 + 1 })
            try expect(values.array().allSatisfy { $0 == expected }, "long sum in a group")
        }
        let trainers = try queue.split(color: rank == 0 ? nil : 0)
        try expect(trainers?.size == (rank == 0 ? nil : size - 1), "group without rank 0")
    }
}
