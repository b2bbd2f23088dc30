import DTrainCollectives
import DTrainTensor
import Glibc

/// Sums for ever; after `--after` sums one rank does what `--do` says: stops, kills itself, sleeps, or fails.
///
///     mpi-check fault --rank 2 --do stop|kill|exit|fail|wrong-size|nothing --after 20 --limit 3 --count 1000
func runWithFault(_ queue: CommunicationQueue) throws {
    let culprit = Int(option("rank", -1))
    let after = Int(option("after", 20))
    let count = Int(option("count", 1000))
    let deadline = now() + option("seconds", 60)
    let action = option("do") ?? "nothing"
    let memory = AlignedMemory(byteCount: max(count, 1) * 4)
    let values: MemorySlice<Float> = memory.slice()[0..<count]
    var number = 0
    while now() < deadline {
        number += 1
        values.fill(1)
        if number == after && queue.rank == 0 { complain("\(after) sums are done") }
        if number == after && queue.rank == culprit {
            complain("rank \(culprit) does \(action)")
            switch action {
            case "stop": kill(getpid(), SIGSTOP)
            case "kill": kill(getpid(), SIGKILL)
            case "exit": _exit(3)
            case "fail":
                // The others wait in a sum, this rank's communication thread is idle.
                queue.abort(code: 7)
            case "fail-busy":
                // This rank's communication thread waits in a sum that nobody else begins.
                let ticket = queue.submit(.allReduceSumFloat(values))
                usleep(200_000)
                queue.abort(code: 7)
                try queue.wait(ticket)
            case "message":
                try queue.run(.receive(values.rawBytes, from: (culprit + 1) % queue.size, tag: 4))
            default: break
            }
        }
        if action == "fail-busy" && number == after && queue.rank != culprit { sleep(60) }
        if action == "message" && number == after && queue.rank != culprit { sleep(60) }
        try queue.run(.allReduceSumFloat(values))
        if let wrong = values.array().first(where: { $0 != Float(queue.size) }) {
            throw CheckFailure(description: "sum \(number) is \(wrong)")
        }
    }
    withExtendedLifetime(memory) {}
}
