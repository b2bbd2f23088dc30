import Foundation
import Testing

/// One operation as PyTorch computed it in float64 (`Fixtures/make_operation_cases.py` describes the file).
struct TorchCase: Decodable, CustomTestStringConvertible {
    struct Array: Decodable {
        let shape: [Int]
        let values: [Double]
    }

    let name: String
    let operation: String
    private let settings: [String: [Double]]
    private let tensors: [String: Array]

    var testDescription: String { "\(operation), \(name)" }

    /// All cases of the file, or those of `operation`.
    static func load(_ operation: String, from fileName: String = "operation_cases.json") throws -> [TorchCase] {
        let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let file = directory.appendingPathComponent("Fixtures/" + fileName)
        let cases = try JSONDecoder().decode([TorchCase].self, from: Data(contentsOf: file))
        let found = cases.filter { $0.operation == operation }
        try #require(!found.isEmpty, "no case of \(operation) in \(file.path)")
        return found
    }

    /// The tensor `name`, which must be there.
    func callAsFunction(_ name: String) throws -> ReferenceTensor {
        let array = try #require(tensors[name], "\(testDescription) has no tensor \(name)")
        return ReferenceTensor(array.shape, array.values)
    }

    func has(_ name: String) -> Bool { tensors[name] != nil }

    func setting(_ name: String) throws -> [Double] {
        try #require(settings[name], "\(testDescription) has no setting \(name)")
    }

    /// A setting of 0 or 1, which a case may leave out.
    func flag(_ name: String, default value: Bool) -> Bool { settings[name].map { $0[0] != 0 } ?? value }

    func integers(_ name: String) throws -> [Int] { try setting(name).map { Int($0) } }

    func pair(_ name: String) throws -> (height: Int, width: Int) {
        let values = try integers(name)
        return (values[0], values[1])
    }
}
