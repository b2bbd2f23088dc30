import DTrainEvents
import DTrainReport
import Foundation
import Synchronization
import Testing

@Suite struct MetricsWriterTests {
    @Test func stepLineHasTheFieldsOfTheFileFormatInOrder() {
        let step = StepCompleted(
            step: 1, epoch: 0, loss: 2.3, learningRate: 0.01, samplesPerSecond: 812.4,
            communicationExposedSeconds: 0.0004, dataWaitSeconds: 0.25)
        #expect(
            Event.step(step).json.text
                == #"{"event":"step","step":1,"epoch":0,"loss":2.3,"lr":0.01,"samples_per_second":812.4,"#
                + #""communication_exposed_seconds":0.0004,"data_wait_seconds":0.25}"#)
    }

    @Test func gradientNormIsThereWhereItWasMeasured() {
        let step = StepCompleted(
            step: 1, epoch: 0, loss: 2, learningRate: 0.5, samplesPerSecond: 8, gradientNorm: 1.5)
        #expect(Event.step(step).json.text.hasSuffix(#","gradient_norm":1.5}"#))
    }

    @Test func evaluationLineHasTheFieldsOfTheFileFormatInOrder() {
        let evaluation = EvaluationCompleted(
            step: 100, epoch: 1, split: "test", loss: 0.5, correct: 9812, correctTop5: 9990, samples: 10000,
            seconds: 1.5)
        #expect(
            evaluation.json.text
                == #"{"event":"eval","step":100,"epoch":1,"split":"test","loss":0.5,"top1":0.9812,"top5":0.999,"#
                + #""correct":9812,"samples":10000,"seconds":1.5}"#)
    }

    @Test func numbersThatJSONLacksAreNullAndTextIsEscaped() throws {
        var object = JSONObject()
        object.add("nan", Double.nan)
        object.add("text", "a\"b\\c\n\u{1}ü")
        #expect(object.text == #"{"nan":null,"text":"a\"b\\c\n\u0001ü"}"#)
        let read = try JSONSerialization.jsonObject(with: Data(object.text.utf8)) as? [String: Any]
        #expect(read?["text"] as? String == "a\"b\\c\n\u{1}ü")
    }

    @Test func resumeDropsLaterStepsAndATornLastLine() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/metrics.jsonl"
            let lines = [
                #"{"event":"start","step":0}"#, #"{"event":"step","step":1}"#, #"{"event":"warning","message":"m"}"#,
                #"{"event":"step","step":2}"#, #"{"event":"step","step":3}"#, #"{"event":"eval","step":2}"#,
                #"{"event":"step","st"#,
            ]
            try Data(lines.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: path))
            let writer = try MetricsWriter(path: path, keepingSteps: 2) { Issue.record("\($0)") }
            writer.receive(.stopped(RunStopped(step: 2, reason: "SIGTERM")))
            let expected =
                (lines[0..<4] + [lines[5], #"{"event":"stopped","step":2,"reason":"SIGTERM"}"#])
                .map { $0 + "\n" }.joined()
            #expect(try String(contentsOfFile: path, encoding: .utf8) == expected)
        }
    }

    @Test func withoutResumeOldLinesStay() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/metrics.jsonl"
            try Data("{\"step\":9}\n".utf8).write(to: URL(fileURLWithPath: path))
            let writer = try MetricsWriter(path: path) { Issue.record("\($0)") }
            writer.receive(.notice(Notice(.info, "hello")))
            #expect(
                try String(contentsOfFile: path, encoding: .utf8)
                    == "{\"step\":9}\n{\"event\":\"notice\",\"message\":\"hello\"}\n")
        }
    }

    @Test func aFullDiskIsReportedOnceAndTrainingGoesOn() throws {
        let failures = Mutex<[String]>([])
        let writer = try MetricsWriter(path: "/dev/full") { message in failures.withLock { $0.append(message) } }
        for step in 1...3 { writer.receive(.stopped(RunStopped(step: step, reason: "r"))) }
        #expect(
            failures.withLock { $0 }
                == ["/dev/full: No space left on device; lines are missing from it from here on"])
    }

    @Test func aPathThatCannotBeOpenedIsAnErrorThatNamesIt() {
        let error = #expect(throws: MetricsError.self) {
            _ = try MetricsWriter(path: "/nowhere/at/all/metrics.jsonl") { _ in }
        }
        #expect(
            error?.description.hasPrefix("/nowhere/at/all/metrics.jsonl: cannot write the metrics: No such file")
                == true)
    }
}

/// Calls `body` with the path of a new directory and removes it afterwards.
func withTemporaryDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("dtrain-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    return try body(directory.path)
}
