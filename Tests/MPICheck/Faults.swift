import DTrainCollectives
import DTrainTensor
import Glibc

/// Sums for `--seconds`; before sum number `--after` the rank `--rank` (and `--other`) does what `--do` says.
///
/// - `stop`, `kill`, `exit`: SIGSTOP, SIGKILL, `_exit(3)`; the others wait in the sum.
/// - `stop-inside`: SIGSTOP while all are inside the sum (give it a large `--count`).
/// - `fail`, `fail-busy`: ends the job with code 7, its communication thread being idle, or waiting.
/// - `message`: waits for a message that nobody sends.
///
/// With `--compress 1` the sums are compressed.
func runWithFault(_ queue: CommunicationQueue) throws {
    let culprit = Int(option("rank", -1))
    let other = Int(option("other", -1))
    let after = Int(option("after", 20))
    let count = Int(option("count", 1000))
    let deadline = monotonicSeconds() + option("seconds", 60)
    let action = option("do") ?? "nothing"
    let memory = AlignedMemory(byteCount: max(count, 1) * 4)
    let values: MemorySlice<Float> = memory.slice()[0..<count]
    let residual = AlignedMemory(byteCount: max(count, 1) * 4)
    residual.slice(of: Float.self).fill(0)
    let workspace = AlignedMemory(byteCount: 2 * CompressedSum.workspaceCount(count, ranks: queue.size))
    let sum: CommunicationOperation =
        option("compress") == nil
        ? .allReduceSumFloat(values)
        : .allReduceSumCompressed(
            CompressedSum(
                values: values, residual: residual.slice()[0..<count], workspace: workspace.slice()))
    var number = 0
    while monotonicSeconds() < deadline {
        number += 1
        values.fill(1)
        if number == after && queue.rank == 0 { complain("\(after) sums are done") }
        if number == after && (queue.rank == culprit || queue.rank == other) {
            complain("rank \(queue.rank) does \(action)")
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
            case "stop-inside":
                // All have arrived, and the sum is long enough to be under way.
                try queue.run(.barrier)
                let ticket = queue.submit(.allReduceSumFloat(values))
                usleep(10_000)
                kill(getpid(), SIGSTOP)
                try queue.wait(ticket)
            case "message":
                try queue.run(.receive(values.rawBytes, from: (culprit + 1) % queue.size, tag: 4))
            default: break
            }
        }
        if action == "stop-inside" && number == after && queue.rank != culprit { try queue.run(.barrier) }
        if action == "fail-busy" && number == after && queue.rank != culprit { sleep(60) }
        if action == "message" && number == after && queue.rank != culprit { sleep(60) }
        try queue.run(sum)
        if let wrong = values.array().first(where: { $0 != Float(queue.size) }) {
            throw CheckFailure(description: "sum \(number) is \(wrong)")
        }
    }
    withExtendedLifetime((memory, residual, workspace)) {}
}
