import DTrainEngine
import Foundation

/// The spans of one rank in Chrome's trace event format, which Perfetto reads: a process a rank, a thread a row.
struct TraceText {
    let rank: Int
    let host: String
    /// What counts as zero.
    let origin: Int
    let operations: [PlannedOperation]

    /// One event a line, lines joined by commas.
    func events(of rows: [TraceRow]) -> [UInt8] {
        var lines = [
            metadata("process_name", thread: 0, #""name":\#(quoted("rank \(rank)"))"#),
            metadata("process_labels", thread: 0, #""labels":\#(quoted(host))"#),
            metadata("process_sort_index", thread: 0, #""sort_index":\#(rank)"#),
        ]
        let names = operations.map { quoted($0.path) }
        for (thread, row) in rows.enumerated() {
            lines.append(metadata("thread_name", thread: thread, #""name":\#(quoted(row.name))"#))
            lines.append(metadata("thread_sort_index", thread: thread, #""sort_index":\#(thread)"#))
            for span in row.spans.buffer { lines.append(event(span, thread: thread, names)) }
        }
        return Array(lines.joined(separator: ",\n").utf8)
    }

    private func metadata(_ name: String, thread: Int, _ arguments: String) -> String {
        #"{"name":"\#(name)","ph":"M","pid":\#(rank),"tid":\#(thread),"args":{\#(arguments)}}"#
    }

    private func event(_ span: TraceSpan, thread: Int, _ names: [String]) -> String {
        var arguments = ""
        let (name, category): (String, String)
        switch span.kind {
        case .forward: (name, category) = (names[span.number], operations[span.number].operation + ",forward")
        case .backward: (name, category) = (names[span.number], operations[span.number].operation + ",backward")
        case .step:
            (name, category) = (#""step \#(span.number)""#, "step")
            arguments = #""step":\#(span.number)"#
        case .evaluation:
            (name, category) = (#""evaluation""#, "evaluation")
            arguments = #""step":\#(span.number)"#
        case .part(let part): (name, category) = (#""\#(Self.name(of: part))""#, "\(part)")
        case .communication(let kind):
            (name, category) = (#""\#(kind.rawValue)""#, "communication")
            arguments = #""bytes":\#(span.byteCount)"#
        case .batch:
            (name, category) = (#""batch""#, "data")
            arguments = #""batch":\#(span.number)"#
        }
        return #"{"name":\#(name),"cat":"\#(category)","ph":"X","ts":\#(microseconds(span.start - origin)),"#
            + #""dur":\#(microseconds(span.end - span.start)),"pid":\#(rank),"tid":\#(thread),"args":{\#(arguments)}}"#
    }

    private static func name(of part: StepPart) -> String {
        switch part {
        case .data: "wait for data"
        case .exchange: "wait for the exchange"
        case .optimizer: "optimizer"
        }
    }

    /// Exact: viewers nest what lies within, to the last digit.
    private func microseconds(_ nanoseconds: Int) -> String {
        let fraction = String(nanoseconds.magnitude % 1000)
        return (nanoseconds < 0 ? "-" : "") + "\(nanoseconds.magnitude / 1000)."
            + String(repeating: "0", count: 3 - fraction.count) + fraction
    }

    private func quoted(_ text: String) -> String {
        // A string is always a value of JSON.
        String(decoding: try! JSONEncoder().encode(text), as: UTF8.self)
    }
}
