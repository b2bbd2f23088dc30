import Foundation

/// Collects nodes and constants, and gives every value a name of its own.
final class GraphWriter {
    /// What tells an operator how to work.
    enum Attribute {
        case int(Int)
        case ints([Int])
        case float(Float)
    }

    private(set) var nodes: [Onnx_NodeProto] = []
    private(set) var constants: [Onnx_TensorProto] = []
    /// The names of the parameters that nodes read.
    private(set) var parameters = Set<String>()
    private var names: Set<String>

    /// - Parameter reserved: names that no node may take.
    init(reserved: [String]) { names = Set(reserved) }

    /// `wish`, with a number where the name is taken.
    func uniqueName(_ wish: String) -> String {
        var name = wish
        var number = 1
        while !names.insert(name).inserted {
            number += 1
            name = "\(wish)_\(number)"
        }
        return name
    }

    func readParameter(_ name: String) -> String {
        parameters.insert(name)
        return name
    }

    /// Appends a node of one output, which has the node's name.
    func add(_ type: String, _ inputs: [String], _ name: String, _ attributes: [(String, Attribute)]) -> String {
        nodes.append(
            .with {
                $0.opType = type
                $0.name = name
                $0.input = inputs
                $0.output = [name]
                $0.attribute = attributes.map(Self.proto)
            })
        return name
    }

    /// Adds a constant: a vector of integers.
    func constant(_ name: String, _ values: [Int]) -> String {
        let elements = values.map { Int64($0).littleEndian }
        return constant(name, [values.count], .int64, elements.withUnsafeBytes { Data($0) })
    }

    /// Adds a constant: numbers of the given shape; an empty shape is one number.
    func constant(_ name: String, _ values: [Float], shape: [Int]) -> String {
        let elements = values.map { $0.bitPattern.littleEndian }
        return constant(name, shape, .float, elements.withUnsafeBytes { Data($0) })
    }

    private func constant(
        _ name: String, _ shape: [Int], _ type: Onnx_TensorProto.DataType, _ data: Data
    ) -> String {
        constants.append(
            .with {
                $0.name = name
                $0.dims = shape.map(Int64.init)
                $0.dataType = Int32(type.rawValue)
                $0.rawData = data
            })
        return name
    }

    /// Gives the value `old` the name `new` wherever it is written or read; one that no node writes is copied.
    func rename(_ old: String, to new: String) {
        guard nodes.contains(where: { $0.output == [old] }) else {
            _ = add("Identity", [old], new, [])
            return
        }
        for index in nodes.indices {
            nodes[index].input = nodes[index].input.map { $0 == old ? new : $0 }
            if nodes[index].output == [old] { nodes[index].output = [new] }
        }
    }

    private static func proto(_ name: String, _ attribute: Attribute) -> Onnx_AttributeProto {
        .with {
            $0.name = name
            switch attribute {
            case .int(let value):
                $0.type = .int
                $0.i = Int64(value)
            case .ints(let values):
                $0.type = .ints
                $0.ints = values.map(Int64.init)
            case .float(let value):
                $0.type = .float
                $0.f = value
            }
        }
    }
}
