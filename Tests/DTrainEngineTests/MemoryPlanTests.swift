import DTrainEngine
import DTrainTensor
import Testing

@Suite struct MemoryPlanTests {
    @Test(arguments: 0..<50)
    func buffersOfOneTimeLieApart(number: Int) {
        let random = CounterRandom(seed: UInt64(number), purpose: .synthetic)
        let buffers = (0..<UInt64(30)).map { index in
            let first = random.below(20, 3 * index)
            return MemoryPlan.Buffer(
                count: random.below(200, 3 * index + 1), first: first, last: first + random.below(6, 3 * index + 2))
        }
        let plan = MemoryPlan(buffers)
        func rounded(_ count: Int) -> Int { (count + 15) / 16 * 16 }
        for (i, a) in buffers.enumerated() {
            #expect(plan.offsets[i] % 16 == 0 && plan.offsets[i] + a.count <= plan.count)
            for (j, b) in buffers.enumerated()
            where i < j && a.count > 0 && b.count > 0 && a.first <= b.last && b.first <= a.last {
                let isApart =
                    plan.offsets[i] + a.count <= plan.offsets[j] || plan.offsets[j] + b.count <= plan.offsets[i]
                #expect(isApart, "\(a) at \(plan.offsets[i]) and \(b) at \(plan.offsets[j])")
            }
        }
        let most = (0..<26).map { moment in
            buffers.filter { $0.first <= moment && moment <= $0.last }.reduce(0) { $0 + rounded($1.count) }
        }.max()!
        #expect(plan.lowerBound == most && plan.count >= most)
    }
}
