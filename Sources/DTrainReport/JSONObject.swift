/// A JSON object whose keys keep the order in which they were added, written on one line.
package struct JSONObject: Sendable {
    private var body = ""

    package init() {}

    /// Names what the object is about: `{"event":"step"}`.
    package init(event: String) { add("event", event) }

    package mutating func add(_ key: String, _ value: String) { append(key, Self.quoted(value)) }
    package mutating func add(_ key: String, _ value: Int) { append(key, String(value)) }
    package mutating func add(_ key: String, _ value: Bool) { append(key, value ? "true" : "false") }
    /// JSON has no infinity and no NaN: they become `null`.
    package mutating func add(_ key: String, _ value: Double) { append(key, value.isFinite ? "\(value)" : "null") }
    package mutating func add(_ key: String, _ values: [Int]) {
        append(key, "[\(values.map(String.init).joined(separator: ","))]")
    }
    package mutating func add(_ key: String, _ values: [Float]) {
        append(key, "[\(values.map { $0.isFinite ? "\($0)" : "null" }.joined(separator: ","))]")
    }
    package mutating func add(_ key: String, _ rows: [[Int]]) {
        append(key, "[\(rows.map { "[\($0.map(String.init).joined(separator: ","))]" }.joined(separator: ","))]")
    }
    package mutating func add(_ key: String, _ values: [JSONObject]) {
        append(key, "[\(values.map(\.text).joined(separator: ","))]")
    }
    package mutating func add(_ key: String, _ value: JSONObject) { append(key, value.text) }
    /// An absent value adds nothing.
    package mutating func add(_ key: String, _ value: String?) { if let value { add(key, value) } }
    package mutating func add(_ key: String, _ value: Double?) { if let value { add(key, value) } }
    package mutating func add(_ key: String, _ value: Int?) { if let value { add(key, value) } }

    /// The object's text, without a newline.
    package var text: String { "{\(body)}" }

    private mutating func append(_ key: String, _ value: String) {
        if !body.isEmpty { body += "," }
        body += "\(Self.quoted(key)):\(value)"
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\u{0}"..<"\u{20}":
                let hexadecimal = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hexadecimal.count) + hexadecimal
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
