import DTrainEngine
import DTrainEvents
import DTrainModels
import DTrainTensor
import DTrainTrainer
import Foundation
import Synchronization
import Testing

/// `train --trace`: what the file says, and that it is there whatever happens.
@Suite(.timeLimit(.minutes(5)))
struct TraceTests {
    /// One complete event ("X"); times in nanoseconds.
    struct Span {
        var rank: Int
        var thread: Int
        var name: String
        var category: String
        var start: Int
        var end: Int
        var arguments: [String: Any]

        func holds(_ other: Span) -> Bool { start <= other.start && other.end <= end }
    }

    struct Trace {
        var spans: [Span] = []
        var processes: [Int: String] = [:]
        /// Names of rows by rank, in their order.
        var rows: [Int: [String]] = [:]

        init(_ path: String) throws {
            let data = try Data(contentsOf: URL(fileURLWithPath: path))
            let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
            for event in try #require(object["traceEvents"] as? [[String: Any]]) {
                let name = try #require(event["name"] as? String)
                let (rank, thread) = (try #require(event["pid"] as? Int), try #require(event["tid"] as? Int))
                let arguments = try #require(event["args"] as? [String: Any])
                switch try #require(event["ph"] as? String) {
                case "M":
                    if name == "process_name" { processes[rank] = arguments["name"] as? String }
                    if name == "thread_name" { rows[rank, default: []].append(arguments["name"] as? String ?? "") }
                case "X":
                    func nanoseconds(_ key: String) throws -> Int {
                        Int((try #require(event[key] as? Double) * 1000).rounded())
                    }
                    let start = try nanoseconds("ts")
                    spans.append(
                        Span(
                            rank: rank, thread: thread, name: name, category: try #require(event["cat"] as? String),
                            start: start, end: start + (try nanoseconds("dur")), arguments: arguments))
                case let phase: Issue.record("an event of phase \(phase)")
                }
            }
        }

        func spans(_ rank: Int, _ thread: Int) -> [Span] {
            spans.filter { $0.rank == rank && $0.thread == thread }.sorted {
                ($0.start, $1.end) < ($1.start, $0.end)
            }
        }

        func steps(_ rank: Int) -> [Span] { spans(rank, 0).filter { $0.category == "step" } }
    }

    /// Expects the spans of each row to lie inside or outside of each other.
    private func expectNesting(_ trace: Trace, sourceLocation: SourceLocation = #_sourceLocation) {
        for (rank, rows) in trace.rows {
            for thread in rows.indices {
                var open: [Span] = []
                for span in trace.spans(rank, thread) {
                    #expect(span.start >= 0 && span.end >= span.start, sourceLocation: sourceLocation)
                    while let outer = open.last, outer.end <= span.start { open.removeLast() }
                    if let outer = open.last, !outer.holds(span) {
                        Issue.record("\(span) reaches out of \(outer)", sourceLocation: sourceLocation)
                        return
                    }
                    open.append(span)
                }
            }
        }
    }

    @Test("Every kernel of every traced step, on every thread of every rank, and what goes on beside them")
    func everyKernel() throws {
        let directory = ScratchDirectory()
        var run = try TestRun(directory, ranks: 2) {
            $0.steps = 6
            $0.evalEvery = 2
            $0.loaderThreads = 2
            $0.trace = directory.path + "/trace.json"
            $0.traceSteps = 3
        }
        run.model = "inception-mnist"
        run.threads = 2
        try run.complete()
        let trace = try Trace(directory.path + "/trace.json")

        #expect(trace.processes == [0: "rank 0", 1: "rank 1"])
        let rows = ["compute 0", "compute 1", "communication", "loader 0", "loader 1"]
        #expect(trace.rows == [0: rows, 1: rows])
        expectNesting(trace)

        let replica = try Replica(
            InceptionMNIST(), input: [28, 28, 1], classes: 10, capacity: 12, pool: ThreadPool(threadCount: 2))
        let forward = replica.operations.map { "\($0.path) \($0.operation),forward" }
        let backward = replica.operations.filter { $0.backward != nil }.reversed().map {
            "\($0.path) \($0.operation),backward"
        }
        #expect(forward.contains("incep1.branch5x5_2 convolution,forward") && backward.count > 20)
        for rank in 0..<2 {
            let steps = trace.steps(rank)
            #expect(steps.map(\.name) == ["step 1", "step 2", "step 3"])
            #expect(steps.map { $0.arguments["step"] as? Int } == [1, 2, 3])
            for step in steps {
                for thread in 0..<2 {
                    let inside = trace.spans(rank, thread).filter { step.holds($0) && $0.category != "step" }
                    let kernels = inside.filter { $0.category.contains(",") }
                    #expect(kernels.map { "\($0.name) \($0.category)" } == forward + backward)
                    let others = inside.filter { !$0.category.contains(",") }.map(\.name)
                    #expect(others == (thread == 0 ? ["wait for data", "wait for the exchange", "optimizer"] : []))
                }
                // Bucket and tail leave the rank within the step.
                let sums = trace.spans(rank, 2).filter { step.holds($0) && $0.name == "allReduce" }
                #expect(
                    sums.reduce(0) { $0 + ($1.arguments["bytes"] as? Int ?? 0) }
                        == 4 * replica.layout.trainableCount + 5 * 8)
            }
            // Nothing of the steps after the third.
            #expect(trace.spans(rank, 0).filter { $0.category.hasSuffix(",forward") }.count == 3 * forward.count)
            let evaluations = trace.spans(rank, 0).filter { $0.name == "evaluation" }
            #expect(evaluations.count == 1 && evaluations[0].arguments["step"] as? Int == 2)
            #expect(evaluations[0].start >= steps[1].end && evaluations[0].end <= steps[2].start)
            let batches = (3...4).flatMap { trace.spans(rank, $0) }
            #expect(batches.allSatisfy { $0.name == "batch" })
            let numbers = batches.compactMap { $0.arguments["batch"] as? Int }.sorted()
            #expect(numbers.count >= 3 && numbers == Array(0..<numbers.count))
            // A step begins with a batch that is ready.
            for (step, span) in steps.enumerated() {
                let wait = try #require(trace.spans(rank, 0).first { span.holds($0) && $0.name == "wait for data" })
                let batch = try #require(batches.first { $0.arguments["batch"] as? Int == step })
                #expect(batch.end <= wait.end)
            }
        }
        // Both ranks count from the same zero: a sum ends on neither before it has begun on both.
        let sums = (0..<2).map { rank in trace.spans(rank, 2).filter { $0.name == "allReduce" } }
        #expect(sums[0].count == sums[1].count)
        for (one, other) in zip(sums[0], sums[1]) {
            #expect(max(one.start, other.start) <= min(one.end, other.end))
        }
    }

    @Test("A run that ends before its trace leaves the steps that it made", arguments: [false, true])
    func endsEarly(dedicated: Bool) throws {
        let directory = ScratchDirectory()
        var run = try TestRun(directory, ranks: 3) {
            $0.steps = 50
            $0.evalEvery = 2
            $0.coordinator = dedicated ? .dedicated : .inline
            $0.trace = directory.path + "/trace.json"
        }
        let stop = run.stops[0]
        run.log = EventLog { if case .step(let step) = $0, step.step == 4 { stop.request(15) } }
        guard case .stopped(let step, _) = try run.complete() else {
            Issue.record("it was not stopped")
            return
        }
        let trace = try Trace(directory.path + "/trace.json")
        expectNesting(trace)
        #expect(trace.processes.count == 3)
        for rank in (dedicated ? 1 : 0)..<3 {
            #expect(trace.steps(rank).compactMap { $0.arguments["step"] as? Int } == Array(1...min(step, 20)))
        }
        if dedicated {
            #expect(trace.rows[0] == ["compute 0"] && !trace.spans(0, 0).isEmpty)
            #expect(trace.spans(0, 0).allSatisfy { $0.name == "evaluation" })
        }
    }

    @Test("So does one whose loss is not finite", arguments: [false, true])
    func fails(dedicated: Bool) throws {
        let directory = ScratchDirectory()
        let run = try TestRun(directory, ranks: 2) {
            $0.learningRate = 1e20
            $0.momentum = 0
            $0.coordinator = dedicated ? .dedicated : .inline
            $0.trace = directory.path + "/trace.json"
        }
        for result in run() { #expect(throws: SharedFailure.self) { try result.get() } }
        let trace = try Trace(directory.path + "/trace.json")
        expectNesting(trace)
        #expect(!trace.steps(1).isEmpty && trace.steps(1).count < 6)
    }

    @Test("The file is valid before the first step, and refused before it where it cannot be written")
    func validFromTheStart() throws {
        let directory = ScratchDirectory()
        let path = directory.path + "/trace.json"
        try Data("what was there".utf8).write(to: URL(fileURLWithPath: path))
        var run = try TestRun(directory, ranks: 2) { $0.trace = path }
        let before = Mutex<Int?>(nil)
        run.log = EventLog { event in
            if case .runStarted = event { before.withLock { $0 = try? Trace(path).spans.count } }
        }
        try run.complete()
        #expect(before.withLock { $0 } == 0)
        #expect(try Trace(path).steps(1).count == 6)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == ["run", "trace.json"])

        for (place, reason) in [
            (directory.path + "/nowhere/trace.json", "No such file or directory"),
            (directory.path + "/run", "it is not a regular file"),
        ] {
            let other = ScratchDirectory()
            let refused = try TestRun(other, ranks: 2) { $0.trace = place }
            for result in refused() {
                let failure = #expect(throws: SharedFailure.self) { try result.get() }
                #expect(failure?.exitCode == 4)
                #expect(failure?.description.contains("cannot write the trace \(place): \(reason)") == true)
            }
            #expect(refused.log.steps.isEmpty)
            let left = try FileManager.default.contentsOfDirectory(atPath: refused.directory)
            #expect(left.isEmpty, "the next start takes the directory")
        }
    }

    @Test("In the run directory it waits until nothing else can be refused")
    func inTheRunDirectory() throws {
        let directory = ScratchDirectory()
        let path = directory.path + "/run/trace.json"
        var run = try TestRun(directory) {
            $0.trace = path
            $0.initialWeights = directory.path + "/nowhere"
        }
        for result in run() { #expect(throws: SharedFailure.self) { try result.get() } }
        #expect(try FileManager.default.contentsOfDirectory(atPath: run.directory).isEmpty)
        run.configuration.initialWeights = nil
        try run.complete()
        #expect(try Trace(path).steps(0).count == 6)
    }
}
