/// Lays buffers out in one arena so that those alive at the same time never overlap.
package struct MemoryPlan {
    /// A run of floats that is needed from `first` to `last`, both included, on the plan's clock.
    package struct Buffer {
        package var count: Int
        package var first: Int
        package var last: Int

        package init(count: Int, first: Int, last: Int) {
            (self.count, self.first, self.last) = (count, first, last)
        }
    }

    /// The offset of each buffer, in floats.
    package let offsets: [Int]
    /// The arena's size, in floats.
    package let count: Int
    /// The most that is alive at any moment: no arena can be smaller.
    package let lowerBound: Int

    /// Places large buffers first, each at the lowest offset where it meets no buffer of its time.
    package init(_ buffers: [Buffer], alignment: Int = 16) {
        func rounded(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }
        let order = buffers.indices.sorted {
            (rounded(buffers[$0].count), $1) > (rounded(buffers[$1].count), $0)
        }
        var offsets = [Int](repeating: 0, count: buffers.count)
        var placed: [Int] = []
        var end = 0
        for index in order where buffers[index].count > 0 {
            let buffer = buffers[index]
            let neighbours =
                placed
                .filter { buffers[$0].first <= buffer.last && buffer.first <= buffers[$0].last }
                .sorted { offsets[$0] < offsets[$1] }
            var offset = 0
            for neighbour in neighbours {
                if offset + rounded(buffer.count) <= offsets[neighbour] { break }
                offset = max(offset, offsets[neighbour] + rounded(buffers[neighbour].count))
            }
            offsets[index] = offset
            placed.append(index)
            end = max(end, offset + rounded(buffer.count))
        }
        let moments = Set(buffers.map(\.first))
        self.offsets = offsets
        count = end
        lowerBound = moments.reduce(0) { most, moment in
            max(most, buffers.reduce(0) { $0 + ($1.first <= moment && moment <= $1.last ? rounded($1.count) : 0) })
        }
    }
}
