// The checks that need more than one process: run as `mpirun -np N mpi-check MODE`. DTrainMPITests starts it.
import DTrainCollectives
import DTrainMPI
import Foundation

let mode = arguments.first ?? "collectives"

if mode == "bench-shim" {
    benchmarkShim()
    exit(0)
}

var patience = MPICommunicator.Patience()
patience.limitSeconds = option("limit", 60)
patience.noticeSeconds = option("notice", 30)
patience.onNotice = { message, _ in complain("notice: \(message)") }
let queue: CommunicationQueue
do {
    let largestCount = Int(option("largest-count", Double(Int32.max)))
    let patience = patience
    let launch = MPILaunch.detect(in: ProcessInfo.processInfo.environment)
    queue = try CommunicationQueue(capacity: 64) {
        try MPICommunicator.world(
            launch: launch, patience: patience, largestCount: largestCount)
    }
} catch {
    complain("\(error)")
    exit(1)
}

do {
    switch mode {
    case "collectives": try Checks(queue).runAll()
    case "bench": try benchmarkQueue(queue)
    case "fault": try runWithFault(queue)
    default:
        complain("unknown mode \(mode)")
        exit(2)
    }
    try queue.close()
} catch {
    complain("\(error)")
    let isPeers = if case CommunicationError.failed = error { true } else { error is CommunicationError }
    queue.abort(code: isPeers ? 5 : 1)
    exit(1)
}
