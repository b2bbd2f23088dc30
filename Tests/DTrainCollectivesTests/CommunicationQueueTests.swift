import CAllocationCounter
import DTrainCollectives
import DTrainTensor
import Glibc
import Synchronization
import Testing

@Suite struct CommunicationQueueTests {
    @Test(arguments: [1, 2, 3, 4]) func operationsRunInTheOrderOfTheirSubmission(size: Int) throws {
        let ranks = LoopbackCommunicator.group(size: size)
        let results = try onThreads(size) { rank in
            // More operations than places, so that submitting waits and the ring wraps round.
            let queue = try CommunicationQueue(capacity: 3) { ranks[rank] }
            let values = try withSlice([Float(rank + 1), 0, 0]) { slice in
                var last = queue.submit(.barrier)
                for index in 0..<20 {
                    _ = queue.submit(.allReduceSumFloat(slice[0..<1]))
                    _ = queue.submit(.broadcast(slice[1..<2].rawBytes, root: index % size))
                    last = queue.submit(.barrier)
                }
                try queue.wait(last)
                #expect(queue.isDone(last))
            }
            try queue.close()
            return (values[0], queue.statistics)
        }
        // After the first sum all ranks hold 1 + … + size; each later one multiplies by size.
        var expected = Float(size * (size + 1) / 2)
        for _ in 1..<20 { expected *= Float(size) }
        for (value, statistics) in results {
            #expect(value == expected)
            #expect(statistics.bytesReduced == 20 * 4 && statistics.operationCount == 62)
            #expect(statistics.busySeconds > 0)
        }
    }

    @Test func everyCallIsMadeOnTheOneThread() throws {
        let spy = SpyCommunicator()
        let queue = try CommunicationQueue {
            spy.visit()
            return spy
        }
        try queue.run(.barrier)
        try queue.perform { _ in spy.visit() }
        _ = try queue.split(color: 0)
        queue.abort(code: 9)
        try queue.close()
        #expect(spy.log == ["barrier", "split", "abort 9", "finalize"])
        #expect(spy.threads.count == 1 && !spy.threads.contains(UInt(pthread_self())))
    }

    @Test func anErrorSurfacesAtWaitAndFailsAllThatFollows() throws {
        let ranks = LoopbackCommunicator.group(size: 1)
        ranks[0].failOperation(number: 2, reason: "broken")
        let queue = try CommunicationQueue { ranks[0] }
        let tickets = (0..<4).map { _ in queue.submit(.barrier) }
        #expect(throws: Never.self) { try queue.wait(tickets[0]) }
        for ticket in tickets[1...] {
            let error = #expect(throws: CommunicationError.self) { try queue.wait(ticket) }
            #expect("\(error!)".contains("barrier #2 failed: broken"))
        }
        #expect(throws: CommunicationError.self) { try queue.perform { $0.rank } }
        #expect(throws: Never.self) { try queue.wait(tickets[0]) }
    }

    @Test func aFullQueueMakesSubmittingWaitAndLosesNothing() throws {
        let spy = SpyCommunicator()
        spy.blocks = true
        let queue = try CommunicationQueue(capacity: 2) { spy }
        let submitted = Mutex(0)
        let memory = AlignedMemory(byteCount: 64)
        let bytes: MemorySlice<UInt8> = memory.slice()
        _ = queue.submit(.barrier)
        let done = try onThreads(2) { thread in
            if thread == 0 {
                for count in 1...6 {
                    _ = queue.submit(.broadcast(bytes[0..<count], root: 0))
                    submitted.withLock { $0 = count }
                }
                return 0
            }
            pause(milliseconds: 100)
            let countWhileBlocked = submitted.withLock { $0 }
            spy.blocks = false
            return countWhileBlocked
        }
        try queue.run(.barrier)
        // The barrier under way keeps its place until it is done.
        #expect(done[1] == 1)
        #expect(spy.log == ["barrier"] + (1...6).map { "broadcast \($0)" } + ["barrier"])
        withExtendedLifetime(memory) {}
    }

    @Test func aQueueThatIsLetGoEndsItsThread() throws {
        weak var watched: SpyCommunicator?
        do {
            let spy = SpyCommunicator()
            watched = spy
            let queue = try CommunicationQueue { spy }
            for _ in 0..<3 { _ = queue.submit(.barrier) }
        }
        // The thread holds the communicator as long as it lives.
        for _ in 0..<5000 where watched != nil { pause(milliseconds: 1) }
        #expect(watched == nil)
    }

    @Test func nothingRunsAfterAFailure() throws {
        let spy = SpyCommunicator()
        spy.failsNext = true
        let queue = try CommunicationQueue { spy }
        #expect(throws: CommunicationError.self) { try queue.run(.barrier) }
        #expect(throws: CommunicationError.self) { try queue.run(.barrier) }
        #expect(throws: CommunicationError.self) { try queue.close() }
        #expect(spy.log == ["barrier"])
    }

    @Test func aFactoryThatFailsIsTheQueuesError() {
        struct NoNetwork: Error {}
        #expect(throws: NoNetwork.self) { try CommunicationQueue { throw NoNetwork() } }
    }

    @Test func groupsOfASplitHaveTheirOwnSums() throws {
        let ranks = LoopbackCommunicator.group(size: 4)
        let results = try onThreads(4) { rank in
            let queue = try CommunicationQueue { ranks[rank] }
            let trainers = try queue.split(color: rank == 0 ? nil : 0)
            let values = try withSlice([Double(rank + 1), Double(rank + 1)]) { slice in
                if let trainers { try queue.run(.allReduceSumDouble(slice[0..<1]), in: trainers) }
                try queue.run(.allReduceSumDouble(slice[1..<2]))
            }
            try queue.close()
            return values
        }
        #expect(results == [[1, 10], [9, 10], [9, 10], [9, 10]])
    }

    @Test func aWaiterLeavesAnExchangeThatIsStuck() throws {
        let spy = SpyCommunicator()
        spy.blocks = true
        let queue = try CommunicationQueue { spy }
        let ticket = queue.submit(.barrier)
        let error = #expect(throws: CommunicationError.self) { try queue.wait(ticket) }
        #expect("\(error!)".contains("began on all ranks but did not end"))
        // The thread is stuck, so the abort is called here, at once.
        let start = monotonic()
        queue.abort(code: 5)
        #expect(monotonic() - start < 0.5)
        #expect(spy.log == ["barrier", "abort 5"])
        #expect(spy.threads.contains(UInt(pthread_self())))
        spy.blocks = false
    }

    @Test(.enabled(if: allocation_count() >= 0)) func submittingAndWaitingAllocateNothing() throws {
        let queue = try CommunicationQueue { SoloCommunicator() }
        _ = try withSlice([Float](repeating: 1, count: 1000)) { slice in
            try queue.run(.allReduceSumFloat(slice))
            let before = allocation_count()
            for _ in 0..<100 {
                let first = queue.submit(.allReduceSumFloat(slice[0..<10]))
                let second = queue.submit(.broadcast(slice.rawBytes, root: 0))
                try queue.wait(first)
                try queue.wait(second)
            }
            #expect(allocation_count() - before == 0)
        }
    }
}

private func monotonic() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
